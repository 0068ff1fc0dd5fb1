"""What an import made of files, as the tests ask for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tv_etl.imports import ImportedSeries, ImportOptions, RefusedFile, import_files
from tv_etl.imports.options import parse_hours
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.trading_hours import TradingHours
from tv_etl_tests.imports.samples import Bar

# New York's, with the holidays of these Januaries.
CALENDAR = TradingHours("0930-1600", "America/New_York", "20240101,20240115,20240219")


def options_of(given: Mapping[str, Any]) -> ImportOptions:
    """Options as a person types them."""
    texts = dict(given)
    symbols = [*texts.pop("symbols", []), *([texts.pop("symbol")] if "symbol" in texts else [])]
    hours = texts.pop("hours", None)
    read = CALENDAR if hours == "calendar" else None if hours is None else parse_hours(hours)
    plain = ImportOptions.of_texts(symbols, texts.pop("interval", None), texts.pop("columns", []), **texts)
    return ImportOptions(**{**vars(plain), "hours": read})


def imported(store: BarStore, *paths: Path, **given: Any) -> tuple[list[ImportedSeries], list[RefusedFile]]:
    """The series of files, and the files that are of none."""
    outcomes = list(import_files(store, paths, options_of(given)))
    series = [each for each in outcomes if isinstance(each, ImportedSeries)]
    return series, [each for each in outcomes if isinstance(each, RefusedFile)]


def reason(store: BarStore, *paths: Path, **given: Any) -> str:
    """Why nothing of some files was imported."""
    series, refused = imported(store, *paths, **given)
    errors = [*(each.error for each in series), *(each.error for each in refused)]
    assert len(errors) == 1 and errors[0] is not None, errors
    assert store.series() == []
    return str(errors[0])


def stored(store: BarStore, symbol: str, interval: str) -> list[Bar]:
    """All bars of a series in a lake."""
    rows = store.read(symbol, interval).to_pylist()
    return [(int(row["timestamp"].timestamp()), *list(row.values())[1:]) for row in rows]
