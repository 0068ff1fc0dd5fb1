"""What asking again will not change goes on record, and nothing else does."""

from pathlib import Path

import pytest

from tv_etl.collect.refusal import record_refusal
from tv_etl.lake.record import Refusal
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import (
    AuthError,
    ConnectionFailedError,
    EntitlementError,
    IntervalError,
    NoBarsError,
    PaceError,
    SeriesError,
    SymbolError,
)
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import PLAIN, SERIES, table

NOPE = Series.of("NASDAQ:NOPE", "1m")


@pytest.mark.parametrize(
    "error",
    [
        SymbolError("NASDAQ:NOPE", "invalid symbol"),
        EntitlementError("NASDAQ:NOPE", "1m", "permission denied"),
        IntervalError("1m", "the server refused: invalid parameters"),
    ],
)
def test_a_refusal_is_on_record_with_its_reason(error: Exception, tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    record_refusal(store, NOPE, error, 100.0)
    assert store.record(*NOPE).refusal == Refusal(f"{type(error).__name__}: {error}", 100.0, 100.0)


@pytest.mark.parametrize(
    "error",
    [
        SeriesError("NASDAQ:NOPE", "1m", "internal error"),
        PaceError("NASDAQ:NOPE", "1m", "max sessions rate reached"),
        NoBarsError("nothing came"),
        ConnectionFailedError("refused"),
        # Of every series alike, until there is another token.
        AuthError("the token expired"),
        OSError("disk"),
    ],
)
def test_what_may_pass_is_not(error: Exception, tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    record_refusal(store, NOPE, error, 100.0)
    assert store.record(*NOPE).refusal is None
    assert not list(tmp_path.iterdir())


def test_a_record_that_cannot_be_read_is_left_to_the_run_that_asks_for_it(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[:10]))
    [path] = tmp_path.rglob("series.json")
    path.write_text("{", encoding="utf-8")
    record_refusal(store, SERIES, SymbolError(SERIES.symbol, "invalid symbol"), 200.0)
    assert path.read_text(encoding="utf-8") == "{"
