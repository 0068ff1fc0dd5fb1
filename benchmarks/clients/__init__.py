"""Clients that do the same work on one market server, each a program of its own (see `benchmarks/__main__.py`)."""
