"""What to ask of a series, and how its answer enters the lake; knows neither Dagster nor a terminal."""
