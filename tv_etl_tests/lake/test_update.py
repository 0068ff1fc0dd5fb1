"""What a table of bars says of itself; what an upsert does with it is in test_upsert and test_store."""

from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest

from tv_etl.lake.errors import BadBarsError, SettingsError
from tv_etl.lake.record import Window
from tv_etl.lake.update import Update, agreed_facts
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

MINUTE, MONTH = Interval.parse("1m"), Interval.parse("1mo")
NOON = int(datetime(2026, 11, 20, 12, tzinfo=timezone.utc).timestamp())


def bars(*seconds: int, **facts: Any) -> pa.Table:
    times = pa.array([second * 1_000_000 for second in seconds], pa.int64()).cast(BAR_SCHEMA.field(0).type)
    schema = BAR_SCHEMA.with_metadata({f"tv_etl.{key}": str(value) for key, value in facts.items()})
    return pa.Table.from_arrays([times, *[pa.array([1.0] * len(seconds))] * 5], schema=schema)


def test_a_table_says_what_is_closed_what_was_asked_and_how_far_the_server_reaches() -> None:
    table = bars(NOON - 60, NOON, forming_from=NOON, asked_from=7, asked_until=NOON, window_bars=5, window_from=6)
    update = Update.of(table, MINUTE, NOON)
    assert (len(update.closed), update.forming) == (1, 1)
    assert (update.asked, update.window) == (((7, NOON),), Window(5, 6))


@pytest.mark.parametrize(("interval", "width"), [(MINUTE, 60), (MONTH, 31 * 86_400)])
def test_without_its_word_the_clock_says_what_is_closed(interval: Interval, width: int) -> None:
    update = Update.of(bars(NOON - width, NOON - width + 1), interval, NOON)
    assert (len(update.closed), update.forming) == (1, 1)
    assert (update.asked, update.window) == ((), None)


@pytest.mark.parametrize("key", ["forming_from", "asked_from", "window_bars"])
def test_a_word_that_is_no_number_is_named(key: str) -> None:
    facts = {"asked_until": 1, "window_from": 1} | {key: "soon"}
    with pytest.raises(BadBarsError, match=f"tv_etl.{key} 'soon' is not a whole number"):
        Update.of(bars(NOON, **facts), MINUTE, NOON)


def test_facts_that_are_missing_stay_and_other_settings_are_refused() -> None:
    series = Series("X:Y", MINUTE)
    known = {"market": "tradingview", "currency": "USD", "session": "unspecified"}
    assert agreed_facts(series, known, {"session": "regular", "forming_from": ""}) == {**known, "session": "regular"}
    with pytest.raises(SettingsError, match="X:Y 1m is stored with market 'tradingview'; bars with market 'replayed"):
        agreed_facts(series, known, {"market": "replayed, seed 7"})
