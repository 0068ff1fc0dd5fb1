"""Where alerts go: a module for each kind of target."""
