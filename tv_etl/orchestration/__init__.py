"""All that uses Dagster: what a watchlist becomes there, and what runs, schedules and sensors do."""
