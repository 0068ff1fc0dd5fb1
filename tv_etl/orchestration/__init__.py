"""Dagster, all of it: what a watchlist becomes in its interface, and what its runs, schedules and sensors do."""
