from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.bars import Bars, check_bars, merge
from tv_etl.lake.errors import BadBarsError
from tv_etl.tradingview.bar_schema import BAR_SCHEMA

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
GOOD: dict[str, Any] = {
    "timestamp": pa.array([NOON, NOON + timedelta(minutes=1)], pa.timestamp("us", tz="UTC")),
    "open": [1.0, 2.0],
    "high": [1.5, 2.5],
    "low": [0.5, 1.5],
    "close": [1.25, 2.25],
    "volume": [10.5, None],
}


def rows_of(bars: Bars) -> dict[int, tuple[float, ...]]:
    rows = bars.to_table().to_pylist()
    return {int(row["timestamp"].timestamp()): tuple(row[name] for name in BAR_SCHEMA.names[1:]) for row in rows}


def test_bars_survive_the_way_through_a_table() -> None:
    table = pa.table(GOOD, schema=BAR_SCHEMA)
    assert check_bars(table).to_table().equals(table)
    assert Bars.from_stored(table).to_table().equals(table)
    assert Bars.none().to_table().equals(BAR_SCHEMA.empty_table())


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("timestamp", GOOD["timestamp"].cast(pa.timestamp("s", tz="UTC"))),
        ("timestamp", GOOD["timestamp"].cast(pa.timestamp("ns", tz="America/New_York"))),
        ("open", pa.array([1, 2], pa.uint64())),
        ("open", pa.array([1, 2], pa.float32())),
        ("volume", pa.array([7, None], pa.int64())),
        ("volume", pa.nulls(2)),
        ("volume", pa.array([None, None], pa.float64())),
    ],
)
def test_types_that_cast_without_loss_are_taken(column: str, values: pa.Array) -> None:
    taken = check_bars(pa.table({**GOOD, column: values})).to_table()
    assert taken.column(column).to_pylist() == values.to_pylist()


def test_columns_may_come_in_any_order() -> None:
    table = pa.table(GOOD)
    assert check_bars(table.select(BAR_SCHEMA.names[::-1])).to_table().equals(check_bars(table).to_table())


@pytest.mark.parametrize(
    ("column", "values", "row", "reason"),
    [
        ("timestamp", pa.array([NOON, None], pa.timestamp("us", tz="UTC")), 1, "null"),
        ("timestamp", pa.array([0, 1], pa.timestamp("us", tz="UTC")), 1, "not a whole second"),
        ("timestamp", pa.array([0, 10**9 + 1], pa.timestamp("ns", tz="UTC")), 1, "not a whole second"),
        ("timestamp", pa.array([0, 2**60], pa.timestamp("s", tz="UTC")), 1, "not in the years 1 to 9999"),
        ("timestamp", pa.array([0, 1], pa.timestamp("us")), None, "expected a timestamp with a time zone"),
        ("timestamp", [0, 1], None, "expected a timestamp with a time zone"),
        ("open", [1.0, None], 1, "null"),
        ("high", [1.0, float("nan")], 1, "not a finite number"),
        ("low", [float("-inf"), 1.0], 0, "not a finite number"),
        ("close", [1, 2**53 + 1], 1, "cannot hold exactly"),
        ("close", ["1", "2"], None, "expected a number"),
        ("volume", [1.0, float("nan")], 1, "not a finite number"),
        ("volume", [True, False], None, "expected a number"),
        ("colour", ["red", "blue"], None, "not a column of a bar"),
    ],
)
def test_what_is_no_bar_is_refused_with_its_place(column: str, values: Any, row: int | None, reason: str) -> None:
    with pytest.raises(BadBarsError, match=reason) as caught:
        check_bars(pa.table({**GOOD, column: values}))
    assert (caught.value.column, caught.value.row) == (column, row)


def test_missing_and_doubled_columns_are_refused() -> None:
    table = pa.table(GOOD)
    with pytest.raises(BadBarsError, match="'volume': missing"):
        check_bars(table.drop_columns("volume"))
    with pytest.raises(BadBarsError, match="'open': given more than once"):
        check_bars(table.append_column("open", table.column("open")))


def test_the_last_row_of_a_time_stands() -> None:
    twice = pa.concat_tables([pa.table(GOOD), pa.table({**GOOD, "close": [9.0, 8.0]})])
    assert check_bars(twice).to_table().equals(pa.table({**GOOD, "close": [9.0, 8.0]}, schema=BAR_SCHEMA))


BARS = st.dictionaries(
    st.integers(-30, 30),
    st.tuples(*[st.sampled_from([0.0, 0.1, 2.5])] * 4, st.sampled_from([None, 0.0, 1.0])),
    max_size=25,
)


def bars_from(rows: dict[int, tuple[Any, ...]]) -> Bars:
    columns = {name: [row[index] for row in rows.values()] for index, name in enumerate(BAR_SCHEMA.names[1:])}
    times = pa.array(list(rows), pa.timestamp("s", tz="UTC")).cast(BAR_SCHEMA.types[0])
    return check_bars(pa.table({"timestamp": times, **columns}, schema=BAR_SCHEMA))


@given(older=BARS, newer=BARS)
def test_a_merge_is_what_a_dict_does(older: dict[int, Any], newer: dict[int, Any]) -> None:
    merged = merge(bars_from(older), bars_from(newer))
    assert rows_of(merged.bars) == {**older, **newer}
    assert list(merged.bars.times) == sorted({**older, **newer})
    assert merged.added == len(newer.keys() - older.keys())
    assert merged.unchanged == sum(older.get(time) == row for time, row in newer.items())
    assert merged.added + merged.changed + merged.unchanged == len(newer)


@given(rows=BARS, start=st.integers(-40, 40), end=st.integers(-40, 40))
def test_between_is_half_open(rows: dict[int, Any], start: int, end: int) -> None:
    found = rows_of(bars_from(rows).between(start, end))
    assert found == {time: row for time, row in rows.items() if start <= time < end}


def test_split_gives_the_runs_of_equal_labels() -> None:
    bars = bars_from(dict.fromkeys(range(5), (1.0, 1.0, 1.0, 1.0, None)))
    runs = bars.split(np.array(["a", "a", "b", "c", "c"]))
    assert [(label, list(run.times)) for label, run in runs] == [("a", [0, 1]), ("b", [2]), ("c", [3, 4])]
    assert list(Bars.none().split(np.array([], dtype=str))) == []
