"""The `tv-etl` command: a thin layer over the package, for terminals and pipes."""
