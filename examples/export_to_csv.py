"""Stored bars as CSV, a series at a time in memory: run year_into_lake.py first."""

import pyarrow.csv

from tv_etl.lake import BarStore

bars = BarStore("lake").scan("NASDAQ:AAPL", "1d")
rows = 0
with pyarrow.csv.CSVWriter("bars.csv", bars.schema) as file:
    for batch in bars:
        file.write_batch(batch)
        rows += batch.num_rows
print(f"{rows} bars in bars.csv")
