"""A CSV that was exported from a chart, NASDAQ_MSFT, 60.csv, or another one that is named, into a lake."""

import sys

from tv_etl.imports import ImportOptions, RefusedFile, import_files
from tv_etl.lake import BarStore

store = BarStore("lake_of_files")
path = sys.argv[1] if len(sys.argv) > 1 else "NASDAQ_MSFT, 60.csv"
for outcome in import_files(store, [path], ImportOptions()):  # symbol, interval, timezone, ... that a file does not say
    if isinstance(outcome, RefusedFile):
        raise SystemExit(str(outcome.error))
    if outcome.error is not None:
        raise SystemExit(f"{outcome.series}: {outcome.error}")
    print(f"{outcome.series}: {sum(outcome.files.values())} bars in the file")
    print(store.read(*outcome.series).to_pandas().tail(3).to_string())
