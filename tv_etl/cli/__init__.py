"""The `tv-etl` command: thin faces on the package, for a terminal and a pipe."""
