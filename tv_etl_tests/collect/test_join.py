"""No answer stands beside stored bars unproven: whatever is asked for, the lake ends with the market's bars."""

from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from tv_etl.collect.join import OVERLAP_BARS, deeper, reaching
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.lake_runs import FIRST, minute_rows

SYMBOL = "NASDAQ:SPLT"
COUNT = 1_000
PLAIN = minute_rows(COUNT)
SPLIT = minute_rows(COUNT, ratio=0.25, until=COUNT)

# Twice: what the newest bars show is not what happened to the oldest.
SPLIT_TWICE = minute_rows(COUNT, ratio=0.125, until=720)[:720] + SPLIT[720:]

Rows = list[tuple[float, ...]]


def at(number: int) -> datetime:
    """The open of a bar of the market."""
    return datetime.fromtimestamp(FIRST + 60 * number, timezone.utc)


def ask(start: int | None = None, end: int | None = None, bars: int | None = None) -> HistoryRequest:
    first, after = (None if number is None else at(number) for number in (start, end))
    return HistoryRequest(SYMBOL, "1m", first, after, bars)


def served(market: Rows, request: HistoryRequest) -> pa.Table:
    """What a server that has these bars answers."""
    start, end = (None if each is None else each.timestamp() for each in (request.start, request.end))
    rows = [row for row in market if (start is None or row[0] >= start) and (end is None or row[0] < end)]
    rows = rows if request.bars_count is None else rows[-request.bars_count :]
    facts = {"tv_etl.forming_from": "", "fetch.rejected": "0"}
    columns = [pa.array([int(row[0]) * 1_000_000 for row in rows], pa.int64()).cast(BAR_SCHEMA.field(0).type)]
    columns += [pa.array([row[column] for row in rows], pa.float64()) for column in range(1, 6)]
    return pa.Table.from_arrays(columns, schema=BAR_SCHEMA.with_metadata(facts))


def collect(store: BarStore, market: Rows, wanted: HistoryRequest) -> int:
    """Ask until the answer joins, and store it; how often was asked."""
    request: HistoryRequest | None = reaching(store, wanted)
    for tries in range(1, 4):
        assert request is not None
        answer = served(market, request)
        further = deeper(store, request, answer)
        if further is None:
            store.upsert(SYMBOL, "1m", answer)
            return tries
        request = further
    raise AssertionError(f"{request} does not join either")


def stored(store: BarStore) -> Rows:
    rows = store.read(SYMBOL, "1m").to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]


def lake(directory: Path, market: Rows, *requests: HistoryRequest) -> BarStore:
    store = BarStore(directory)
    for request in requests:
        collect(store, market, request)
    return store


WANTED = [
    pytest.param(ask(end=700), id="all before"),
    pytest.param(ask(start=200, end=700), id="a range before"),
    pytest.param(ask(start=200, end=400), id="a range before, with bars between"),
    pytest.param(ask(start=750, end=800), id="a range inside"),
    pytest.param(ask(start=900), id="from the end on"),
    pytest.param(ask(start=950), id="from after the end on"),
    pytest.param(ask(start=950, end=960), id="a range after"),
    pytest.param(ask(bars=900), id="more than is stored"),
    pytest.param(ask(bars=50), id="fewer than reach what is stored"),
    pytest.param(ask(end=700, bars=100), id="the last before"),
    pytest.param(ask(end=400, bars=100), id="the last before, with bars between"),
    pytest.param(ask(end=960, bars=20), id="the last before an end behind"),
]


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("market", [PLAIN, SPLIT, SPLIT_TWICE], ids=["as before", "re-adjusted", "twice"])
def test_an_answer_beside_stored_bars_reaches_into_them(tmp_path: Path, wanted: HistoryRequest, market: Rows) -> None:
    store = lake(tmp_path, PLAIN[:900], ask(start=700))
    tries = collect(store, market, wanted)
    assert tries == 1 or wanted.bars_count is not None or market is not PLAIN, "one request is enough"
    found = stored(store)
    assert found == market[-len(found) :], "nothing is missing between, nothing has another scale"
    [oldest, *_] = served(market, wanted)["timestamp"].to_pylist()
    assert found[0][0] == min(oldest, at(700)).timestamp(), "what was asked for is stored"


@pytest.mark.parametrize("market", [PLAIN, SPLIT], ids=["as before", "re-adjusted"])
def test_what_was_asked_for_is_stored_however_far_it_reaches(tmp_path: Path, market: Rows) -> None:
    store = lake(tmp_path, PLAIN, ask(bars=300))
    collect(store, market, ask(bars=900))
    assert stored(store) == market[-900:]


def test_a_hole_is_joined_on_its_older_side(tmp_path: Path) -> None:
    """Two stretches of an older lake, the newer one of the new scale: only the older one shows the split."""
    store = BarStore(tmp_path)
    store.upsert(SYMBOL, "1m", served(PLAIN, ask(100, 200)))
    store.upsert(SYMBOL, "1m", served(SPLIT, ask(700, 800)))
    collect(store, SPLIT, ask(start=200, end=700))
    assert stored(store) == SPLIT[100:]


def test_a_number_of_bars_that_begins_in_a_hole_is_joined_as_well(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(SYMBOL, "1m", served(PLAIN, ask(100, 200)))
    store.upsert(SYMBOL, "1m", served(SPLIT, ask(700, 800)))
    assert collect(store, SPLIT, ask(bars=500)) == 3, "to where the older side begins, and to its first bar"
    assert stored(store) == SPLIT[100:]


def test_an_end_inside_stored_bars_leaves_none_of_another_scale_behind_it(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(SYMBOL, "1m", served(SPLIT, ask(700, 750)))
    store.upsert(SYMBOL, "1m", served(PLAIN, ask(800, 900)))
    collect(store, SPLIT, ask(end=790, bars=60))
    assert stored(store) == SPLIT[700:]


def test_what_the_server_has_no_more_of_is_asked_for_once_and_rescaled(tmp_path: Path) -> None:
    store = lake(tmp_path, PLAIN[:900], ask(start=700))
    assert collect(store, SPLIT[750:], ask(start=900 - OVERLAP_BARS)) == 2
    assert stored(store) == SPLIT[700:]


def test_what_the_server_has_forgotten_is_not_asked_for_twice(tmp_path: Path) -> None:
    """A pause longer than the server's window: what it has begins after the stored bars, whatever it is asked for."""
    store = lake(tmp_path, PLAIN[:300], ask(start=100))
    assert collect(store, PLAIN[800:], ask(start=250)) == 1
    assert stored(store) == [*PLAIN[100:300], *PLAIN[800:]]


def test_an_increment_costs_one_request(tmp_path: Path) -> None:
    store = lake(tmp_path, PLAIN[:900], ask(bars=300))
    assert collect(store, PLAIN, ask(start=900 - OVERLAP_BARS)) == 1
    assert stored(store) == PLAIN[-400:]


def test_where_nothing_is_stored_all_that_was_asked_for_is_an_answer(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for wanted in (ask(100, 200), ask(bars=10), ask()):
        assert reaching(store, wanted) is wanted
        assert deeper(store, wanted, served(PLAIN, wanted)) is None
    assert deeper(store, ask(100, 200), served([], ask())) is None
