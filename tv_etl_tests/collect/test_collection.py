"""Series collected together: whatever is asked for, the lake ends with the market's bars, in two trips a series."""

import json
import re
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tv_etl.collect.ask import OVERLAP_BARS, Ask, Want, backfill, increment, newest, refetch, refetch_stored
from tv_etl.collect.collection import AskedAgain, Failed, SetAside, Stored, Unchanged, carry_out, plan
from tv_etl.collect.entry import enter_answer
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.storage.directory import DirectoryFiles
from tv_etl.lake.storage.files import SeriesFiles, Transaction
from tv_etl.lake.storage.objects import ObjectFiles
from tv_etl.lake.store import BarStore
from tv_etl.market_server.testing import MarketOptions, running_market
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import Adjustment, SeriesSettings
from tv_etl_tests.collect.served_market import (
    COUNT,
    PLAIN,
    SERIES,
    SETTINGS,
    SPLIT,
    Rows,
    ServedMarket,
    at,
    second,
    table,
)
from tv_etl_tests.lake_files import files_of
from tv_etl_tests.lake_runs import minute_rows
from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.s3_proxy import FORWARD, S3Proxy, s3_proxy

# Twice: what the newest bars show is not what happened to the oldest.
SPLIT_TWICE = minute_rows(COUNT, ratio=0.125, until=720)[:720] + SPLIT[720:]
NOW = second(COUNT) + 1
# Ten minutes of October, and more of November.
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp())
TWO_MONTHS: Rows = [(float(NOVEMBER + 60 * (n - 10)), *row[1:]) for n, row in enumerate(PLAIN[:40])]


def collect(
    store: BarStore, market: ServedMarket, want: Want, *, lists: bool = True
) -> list[Unchanged | Stored | AskedAgain]:
    """What became of the series, step by step."""
    steps = list(plan(store, [(SERIES, want)], NOW, lists=lists))
    asks = [step for step in steps if isinstance(step, Ask)]
    outcomes = [*steps, *carry_out(store, asks, market.fetch)]
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            raise outcome.error
    return [each for each in outcomes if isinstance(each, Unchanged | Stored | AskedAgain)]


def stored(store: BarStore) -> Rows:
    rows = store.read(*SERIES).to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]


def lake(directory: Path, market: Rows, *wants: Want) -> BarStore:
    store = BarStore(directory)
    for want in wants:
        collect(store, ServedMarket(market), want)
    return store


# --- joints -------------------------------------------------------------------------------------------------------

WANTED = [
    pytest.param(backfill(SETTINGS, None, at(700)), 0, id="all before"),
    pytest.param(backfill(SETTINGS, at(200), at(700)), 200, id="a range before"),
    pytest.param(backfill(SETTINGS, at(200), at(400)), 200, id="a range before, with bars between"),
    pytest.param(refetch(SETTINGS, at(750)), 700, id="a range inside"),
    pytest.param(increment(SETTINGS, 300), 700, id="from the end on"),
    pytest.param(refetch(SETTINGS, at(950)), 700, id="from after the end on"),
    pytest.param(backfill(SETTINGS, at(950), at(960)), 700, id="a range after"),
    pytest.param(newest(SETTINGS, 900), 100, id="more than is stored"),
    pytest.param(newest(SETTINGS, 50), 700, id="fewer than reach what is stored"),
    pytest.param(newest(SETTINGS, 100, at(700)), 600, id="the last before"),
    pytest.param(newest(SETTINGS, 100, at(400)), 300, id="the last before, with bars between"),
    pytest.param(newest(SETTINGS, 20, at(960)), 700, id="the last before an end behind"),
]


@pytest.mark.parametrize(("want", "begins"), WANTED)
@pytest.mark.parametrize("market", [PLAIN, SPLIT, SPLIT_TWICE], ids=["as before", "re-adjusted", "twice"])
def test_an_answer_beside_stored_bars_reaches_into_them(tmp_path: Path, want: Want, begins: int, market: Rows) -> None:
    store = lake(tmp_path, PLAIN[:900], refetch(SETTINGS, at(700)))
    server = ServedMarket(market)
    collect(store, server, want)
    assert stored(store) == market[begins:], "nothing is missing between, or cut, and nothing has another scale"
    assert market is not PLAIN or len(server.requests) <= (1 if server.requests[0].bars_count is None else 2)


def test_an_answer_is_never_cut_at_its_far_end(tmp_path: Path) -> None:
    for want in (backfill(SETTINGS, at(200), at(300)), newest(SETTINGS, 100, at(300)), refetch(SETTINGS, at(200))):
        store = BarStore(tmp_path / str(id(want)))
        collect(store, ServedMarket(PLAIN), want)
        assert stored(store) == PLAIN[200:]
        assert store.record(*SERIES).asked == ((second(200), second(COUNT - 1) + 1),), "no island comes into being"


@pytest.mark.parametrize("market", [PLAIN, SPLIT], ids=["as before", "re-adjusted"])
def test_what_was_asked_for_is_stored_however_far_it_reaches(tmp_path: Path, market: Rows) -> None:
    store = lake(tmp_path, PLAIN, newest(SETTINGS, 300))
    collect(store, ServedMarket(market), newest(SETTINGS, 900))
    assert stored(store) == market[-900:]


@pytest.mark.parametrize("want", [backfill(SETTINGS, at(200), at(700)), newest(SETTINGS, 500), increment(SETTINGS, 9)])
def test_a_hole_is_joined_on_its_older_side(tmp_path: Path, want: Want) -> None:
    """Two stretches of an older lake, the newer one of the new scale: only the older one shows the split."""
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(PLAIN[100:200], asked_from=second(100), asked_until=second(200)))
    store.upsert(*SERIES, table(SPLIT[700:800], asked_from=second(700), asked_until=second(800)))
    collect(store, ServedMarket(SPLIT), want)
    assert stored(store) == SPLIT[100:]


def test_an_end_inside_stored_bars_leaves_none_of_another_scale_behind_it(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.upsert(*SERIES, table(SPLIT[700:750]))
    store.upsert(*SERIES, table(PLAIN[800:900]))
    collect(store, ServedMarket(SPLIT), newest(SETTINGS, 60, at(790)))
    assert stored(store) == SPLIT[700:]


def test_what_the_server_has_no_more_of_is_asked_for_once_and_rescaled(tmp_path: Path) -> None:
    store = lake(tmp_path, PLAIN[:900], refetch(SETTINGS, at(700)))
    market = ServedMarket(SPLIT, window=250)
    collect(store, market, increment(SETTINGS, 300))
    assert [request.start for request in market.requests] == [at(899 - OVERLAP_BARS), at(700)]
    assert stored(store) == SPLIT[700:]


def test_what_the_server_has_forgotten_is_not_asked_for_twice(tmp_path: Path) -> None:
    """A pause longer than the server's window: what it has begins after the stored bars, whatever it is asked for."""
    store = lake(tmp_path, PLAIN[:300], refetch(SETTINGS, at(100)))
    market = ServedMarket(PLAIN, window=200)
    collect(store, market, increment(SETTINGS, 300))
    assert len(market.requests) == 1
    assert stored(store) == [*PLAIN[100:300], *PLAIN[800:]]


def test_an_audit_finds_a_split_that_came_late(tmp_path: Path) -> None:
    """No increment sees it: the newest bars are as they were."""
    store = BarStore(tmp_path, clock=lambda: float(second(900)))
    collect(store, ServedMarket(PLAIN[:900]), refetch(SETTINGS, at(100)))
    late = minute_rows(COUNT, ratio=0.25, until=700)
    collect(store, ServedMarket(late), increment(SETTINGS, 300))
    assert stored(store) == [*PLAIN[100:700], *late[700:]], "unseen"
    collect(store, ServedMarket(late, window=500), increment(SETTINGS, 300, audit_s=1.0))
    assert stored(store) == late[100:], "those as well that the server has no more"
    [found] = store.record(*SERIES).readjustments
    assert (found.readjustment.ratio, found.readjustment.until) == (0.25, second(700))


@pytest.mark.parametrize(
    ("symbol", "adjustment", "ratio", "volume_ratio"),
    [("NASDAQ:LATE", "splits", 0.5, 2.0), ("NASDAQ:PENY", "splits", 10.0, 0.1), ("NYSE:BOTH", "dividends", None, 1.5)],
)
def test_what_the_market_server_re_adjusts_is_rescaled_beyond_what_it_serves(
    tmp_path: Path, symbol: str, adjustment: Adjustment, ratio: float | None, volume_ratio: float
) -> None:
    """The older half of the lake is no more in the server's window; the market of all time is asked without one."""
    series, settings = Series.of(symbol, "1h"), SeriesSettings(adjustment)
    store = BarStore(tmp_path)

    def run(url: str, want: Want) -> list[Stored | Failed]:
        asks = [each for each in plan(store, [(series, want)], NOW) if isinstance(each, Ask)]
        outcomes = list(carry_out(store, asks, lambda requests: fetch_history(requests, ws_url=url)))
        return [each for each in outcomes if isinstance(each, Stored | Failed)]

    before, after = (datetime(2026, 11, day, 22, tzinfo=timezone.utc) for day in (13, 17))
    with running_market(MarketOptions(seed=7, now=before, plan="ultimate")) as market:
        [done] = run(market.url, newest(settings, 12_000))
        assert isinstance(done, Stored) and done.commit.rows > 10_000
    with running_market(MarketOptions(seed=7, now=after)) as market:
        [done] = run(market.url, refetch_stored(settings, 9))
        assert isinstance(done, Stored)
        found = done.commit.readjustment
        assert found is not None and done.answer.num_rows < done.commit.rows - 2_000
        assert found.volume_ratio == pytest.approx(volume_ratio)
        assert ratio is None or found.ratio == pytest.approx(ratio)
    with running_market(MarketOptions(seed=7, now=after, plan="ultimate")) as market:
        first = store.summary(*series).first
        [(_, whole)] = fetch_history([HistoryRequest(*series, start=first, settings=settings)], ws_url=market.url)
    assert isinstance(whole, pa.Table)
    ours = store.read(*series)
    theirs = whole.slice(0, ours.num_rows)
    assert ours["timestamp"].equals(theirs["timestamp"])
    for name in ("open", "high", "low", "close"):
        tolerance = 0.0151 + 0.005 * found.ratio  # both were rounded, and what was rescaled once more
        assert (
            max(abs(a - b) for a, b in zip(ours[name].to_pylist(), theirs[name].to_pylist(), strict=True)) < tolerance
        )


def test_an_increment_costs_one_request(tmp_path: Path) -> None:
    store = lake(tmp_path, PLAIN[:900], newest(SETTINGS, 300))
    market = ServedMarket(PLAIN)
    collect(store, market, increment(SETTINGS, 300))
    assert [request.start for request in market.requests] == [at(899 - OVERLAP_BARS)]
    assert stored(store) == PLAIN[-400:]


# --- many series ---------------------------------------------------------------------------------------------------


def test_one_series_failure_is_its_own(tmp_path: Path) -> None:
    store, market = BarStore(tmp_path), ServedMarket(PLAIN)
    names = [Series.of(f"X:{name}", "1m") for name in ("GOOD", "REFUSED", "DAMAGED", "BROKEN")]
    store.upsert(*names[2], table(PLAIN[:900]))
    [file] = (name for name in files_of(store).names() if name.endswith(".parquet"))
    files_of(store).write(file, b"no Parquet")

    def broken(stored: object, now: float) -> HistoryRequest:
        raise KeyError("?")

    def fetch(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request in requests:
            is_refused = request.symbol == "X:REFUSED"
            yield request, SymbolError(request.symbol, "no such symbol") if is_refused else market.answer(request)

    wants: list[tuple[Series, Want]] = [(series, increment(SETTINGS, 300)) for series in names[:3]]
    planned = list(plan(store, [*wants, (names[3], broken)], NOW))
    asks = [each for each in planned if isinstance(each, Ask)]
    outcomes = [*planned, *carry_out(store, asks, fetch)]
    failed = {each.series.symbol: type(each.error) for each in outcomes if isinstance(each, Failed)}
    assert failed == {"X:REFUSED": SymbolError, "X:DAMAGED": DamagedFileError, "X:BROKEN": KeyError}
    assert [each.series for each in outcomes if isinstance(each, Stored)] == names[:1]
    # Set aside, it is fetched again.
    planned = list(plan(store, [(names[2], refetch_stored(SETTINGS, 300))], NOW, mends=True))
    [aside] = (each for each in planned if isinstance(each, SetAside))
    assert aside.series == names[2] and "damaged-" in aside.names[0]
    [done] = carry_out(store, [each for each in planned if isinstance(each, Ask)], fetch)
    assert isinstance(done, Stored) and done.commit.rows == 300


def test_what_would_be_lost_next_is_asked_for_first(tmp_path: Path) -> None:
    store, market = BarStore(tmp_path), ServedMarket(PLAIN)
    ends = {"X:A": 950, "X:B": 500, "X:C": 800}
    for symbol, end in ends.items():
        store.upsert(symbol, "1m", table(PLAIN[:end], asked_from=second(0), asked_until=second(end)))
    series = [Series.of(symbol, "1m") for symbol in ("X:NEW", *ends)]
    planned = plan(store, [(each, increment(SETTINGS, 9)) for each in series], NOW)
    asks = [each for each in planned if isinstance(each, Ask)]
    done = [each.series.symbol for each in carry_out(store, asks, market.fetch)]
    assert done == ["X:B", "X:C", "X:A", "X:NEW"]


# --- trips ---------------------------------------------------------------------------------------------------------


def count_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The snapshots and transactions that are opened from here on, wherever the lake is."""
    trips: list[str] = []
    for kind in (DirectoryFiles, ObjectFiles):
        for name in ("reading", "writing"):
            opened: Callable[[SeriesFiles, Any], Any] = getattr(kind, name)

            def count(files: SeriesFiles, use: Any, *, name: str = name, opened: Any = opened, **options: Any) -> Any:
                trips.append(name)
                return opened(files, use, **options)

            monkeypatch.setattr(kind, name, count)
    return trips


def test_an_increment_takes_two_trips_into_the_store(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BarStore(base)
    collect(store, ServedMarket(PLAIN[:900]), newest(SETTINGS, 300))
    trips = count_trips(monkeypatch)
    [planned] = plan(store, [(SERIES, increment(SETTINGS, 300))], NOW, newest=48)
    assert isinstance(planned, Ask)
    [done] = carry_out(store, [planned], ServedMarket(PLAIN).fetch, newest=48)
    assert isinstance(done, Stored)
    assert (done.commit.added, len(done.commit.newest), done.commit.record.rows) == (100, 48, 400)
    assert trips == ["reading", "writing"]
    trips.clear()
    [known] = plan(store, [(SERIES, backfill(SETTINGS, at(800), at(900)))], NOW, newest=48)
    assert isinstance(known, Unchanged)
    assert known.newest.times.tolist() == [row[0] for row in PLAIN[-48:]]
    assert trips == ["reading"]


def test_a_re_adjusted_history_takes_one_more_trip_for_each_request_more(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BarStore(base)
    collect(store, ServedMarket(PLAIN[:900]), newest(SETTINGS, 300))
    trips = count_trips(monkeypatch)
    collect(store, ServedMarket(SPLIT), increment(SETTINGS, 300))
    assert trips == ["reading", "writing", "writing"]
    assert stored(store) == SPLIT[-400:]


# --- requests and syncs -------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(s3_endpoint: str, s3_lake: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with s3_proxy(s3_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def requests_of(proxy: S3Proxy, store: BarStore, market: ServedMarket, want: Want, *, lists: bool = False) -> list[str]:
    proxy.requests.clear()
    collect(store, market, want, lists=lists)
    listed = [(method, path.partition("prefix=")) for method, path in proxy.requests]
    named = [f"{'LIST' if sign else method} {(after if sign else path)}" for method, (path, sign, after) in listed]
    return [
        re.sub(r" \S*(\.tv_etl|ohlcv|\?delete)", r" \1", each.replace("a lake/", "").replace("a+lake/", ""))
        for each in named
    ]


def test_what_is_listed_while_it_is_put_is_deleted_once(s3_endpoint: str, s3_lake: str, proxy: S3Proxy) -> None:
    store = BarStore(s3_lake)
    collect(store, ServedMarket(PLAIN[:900]), newest(SETTINGS, 300))

    def is_staged(listing: str) -> bool:
        with urllib.request.urlopen(f"{s3_endpoint}{quote(listing, safe='/?&=+')}", timeout=HANG_S) as answer:
            return bool(re.search(rb"/[0-9a-f]{32}\.parquet<", answer.read()))

    def judge(method: str, path: str) -> str:
        if method == "GET" and "prefix=" in path and "/.tv_etl/" in path:
            wait_until(lambda: is_staged(path), "what is put is there")
        return FORWARD

    proxy.judge = judge
    made = requests_of(proxy, store, ServedMarket(PLAIN[:901]), increment(SETTINGS, 300))
    assert [each for each in made if each.startswith("POST")] == ["POST ?delete"]


def test_an_increment_takes_eight_requests_and_two_where_nothing_is_new(s3_lake: str, proxy: S3Proxy) -> None:
    own, data = ".tv_etl/1m/NASDAQ%3ASPLT", "ohlcv/interval=1m/symbol=NASDAQ%3ASPLT"
    store = BarStore(s3_lake)
    collect(store, ServedMarket(PLAIN[:900]), newest(SETTINGS, 300))
    for count in (901, 902):  # each commit leaves what the next one needs
        made = requests_of(proxy, store, ServedMarket(PLAIN[:count]), increment(SETTINGS, 300))
        staged = [each for each in made if re.search(r"/[0-9a-f]{32}\.parquet$", each)]
        assert made[:2] == [f"GET {own}/series.json", f"GET {data}/2026-11.parquet"]
        assert len(staged) == 1 and sorted(made[2:5]) == sorted([*staged, f"LIST {own}/", f"LIST {data}/"])
        assert made[5:] == [f"PUT {own}/series.json", f"PUT {data}/2026-11.parquet", "POST ?delete"]
    made = requests_of(proxy, store, ServedMarket(PLAIN[:902]), increment(SETTINGS, 300))
    assert made == [f"GET {own}/series.json", f"GET {data}/2026-11.parquet"]
    known = requests_of(proxy, store, ServedMarket(PLAIN), backfill(SETTINGS, at(800), at(900)), lists=True)
    assert known == [f"GET {own}/series.json", f"LIST {data}/"]


def test_commits_of_different_series_in_a_bucket_overlap(s3_lake: str, proxy: S3Proxy) -> None:
    store, others = BarStore(s3_lake), [Series.of(f"X:S{number}", "1m") for number in range(4)]
    gate = threading.Barrier(len(others))

    def judge(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("series.json"):
            gate.wait(HANG_S)  # none is committed before all are about to be
        return FORWARD

    proxy.judge = judge
    asks = [each for each in plan(store, [(each, increment(SETTINGS, 10)) for each in others], NOW)]
    outcomes = list(carry_out(store, [each for each in asks if isinstance(each, Ask)], ServedMarket(PLAIN).fetch))
    assert [type(each) for each in outcomes] == [Stored] * 4


def test_a_series_that_waits_for_its_lock_keeps_no_other_one_from_being_stored(tmp_path: Path) -> None:
    store, others = BarStore(tmp_path), [Series.of(f"X:S{number}", "1m") for number in range(3)]
    market, is_stored = ServedMarket(PLAIN), threading.Event()
    wants = [(each, increment(SETTINGS, 10)) for each in others]
    asks = [each for each in plan(store, wants, NOW) if isinstance(each, Ask)]
    list(carry_out(store, asks[:1], market.fetch))
    first = store._place(others[0]).files

    def hold(transaction: Transaction) -> None:
        is_held.set()
        assert is_stored.wait(HANG_S)

    is_held = threading.Event()
    holder = threading.Thread(target=first.writing, args=(hold,))
    holder.start()
    assert is_held.wait(HANG_S)

    def answers_then_look(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        yield from market.fetch(requests)
        wait_until(lambda: store.series() == others, "the others are stored")
        is_stored.set()

    outcomes = list(carry_out(store, asks, answers_then_look))
    holder.join()
    assert [each.series for each in outcomes] == others, "told in the order of their answers"
    assert all(isinstance(each, Stored) for each in outcomes)


def test_a_file_taken_from_a_bucket_by_hand_is_missed_by_whoever_lists_it(s3_lake: str) -> None:
    store, october = BarStore(s3_lake), "ohlcv/interval=1m/symbol=NASDAQ%3ASPLT/2026-10.parquet"
    begins = datetime.fromtimestamp(TWO_MONTHS[0][0], timezone.utc)

    def asked_from() -> int:
        """By the word of the last commit."""
        asked: list[list[int]] = json.loads(files_of(store).read(".tv_etl/1m/NASDAQ%3ASPLT/series.json"))["asked"]
        return asked[0][0]

    collect(store, ServedMarket(TWO_MONTHS[:-1]), refetch(SETTINGS, begins))
    files_of(store).remove(october)
    collect(store, ServedMarket(TWO_MONTHS[:-1]), increment(SETTINGS, None), lists=False)
    assert asked_from() == TWO_MONTHS[0][0], "nothing was new"
    assert store.record(*SERIES).asked[0][0] == NOVEMBER
    collect(store, ServedMarket(TWO_MONTHS), increment(SETTINGS, None), lists=False)
    assert asked_from() == NOVEMBER
    for _ in range(2):
        collect(store, ServedMarket(TWO_MONTHS), backfill(SETTINGS, begins, None))
        assert stored(store) == TWO_MONTHS
        files_of(store).remove(october)


# --- two callers ---------------------------------------------------------------------------------------------------

STARTS = st.integers(0, 950)
WANTS = st.one_of(
    st.builds(partial(increment, SETTINGS), st.sampled_from([10, 50, 400])),
    st.builds(lambda start, bars: backfill(SETTINGS, at(start), at(start + bars)), STARTS, st.integers(1, 300)),
    st.builds(lambda start: refetch(SETTINGS, at(start)), STARTS),
    st.builds(lambda bars, end: newest(SETTINGS, bars, at(end)), st.integers(10, 300), st.integers(100, 990)),
    st.just(refetch_stored(SETTINGS, 100)),
)


class Caller:
    """Collects what it wants step by step: a look at the store, then an answer, then its entry into the store."""

    def __init__(self, store: BarStore, wants: list[Want]) -> None:
        self.store, self.wants = store, list(wants)
        self.asked: Ask | None = None
        self.answer: Any = None
        self.has_stored_split = False

    @property
    def is_done(self) -> bool:
        return not self.wants and self.asked is None

    def step(self, market: ServedMarket) -> None:
        if self.asked is None:
            [planned] = plan(self.store, [(SERIES, self.wants.pop(0))], NOW)
            assert isinstance(planned, Ask | Unchanged), planned
            self.asked = planned if isinstance(planned, Ask) else None
        elif self.answer is None:
            self.answer = market.answer(self.asked.request)
        else:
            entered = enter_answer(self.store, self.asked, self.answer)
            is_split = self.answer["close"][-1].as_py() == SPLIT[-1][4]
            self.has_stored_split |= is_split and not isinstance(entered, Ask)
            self.asked, self.answer = (entered if isinstance(entered, Ask) else None), None


@settings(max_examples=60)
@given(
    first=st.lists(WANTS, min_size=1, max_size=2),
    other=st.lists(WANTS, min_size=1, max_size=2),
    begins=st.none() | STARTS,
    turns=st.lists(st.booleans(), max_size=24),
    split_after=st.integers(0, 24),
)
@example(  # an answer from before the split comes last
    first=[increment(SETTINGS, 10)],
    other=[increment(SETTINGS, 10)],
    begins=None,
    turns=[False, False, True, True, True],
    split_after=2,
)
def test_two_callers_at_once_leave_what_one_caller_leaves(
    first: list[Want], other: list[Want], begins: int | None, turns: list[bool], split_after: int
) -> None:
    """However their steps mingle, and although the market splits while their answers are under way."""
    with tempfile.TemporaryDirectory() as directory:
        store, market = BarStore(f"{directory}/lake"), ServedMarket(PLAIN)
        if begins is not None:
            collect(store, market, refetch(SETTINGS, at(begins)))
        callers = [Caller(store, first), Caller(store, other)]
        for number, is_other in enumerate([*turns, *[False] * 40, *[True] * 40]):
            market.rows = PLAIN if number < split_after else SPLIT
            if not callers[is_other].is_done:
                callers[is_other].step(market)
        assert all(caller.is_done for caller in callers), "one asks for ever"
        found, market_then = stored(store), SPLIT if any(caller.has_stored_split for caller in callers) else PLAIN
        assert found == market_then[-len(found) :], "one scale, the newest that anybody has seen; none missing between"
        alone = [serial(f"{directory}/{number}", begins, order) for number, order in enumerate(orders(first, other))]
        assert len(found) in alone


def orders(first: list[Want], other: list[Want]) -> Iterator[list[Want]]:
    """Every order in which one caller could do the work of two, each in its own order."""
    count = len(first) + len(other)
    for places in combinations(range(count), len(first)):
        mine, others = iter(first), iter(other)
        yield [next(mine) if place in places else next(others) for place in range(count)]


def serial(directory: str, begins: int | None, wants: list[Want]) -> int:
    """How many bars one caller has in the end."""
    store, market = BarStore(directory), ServedMarket(PLAIN)
    if begins is not None:
        collect(store, market, refetch(SETTINGS, at(begins)))
    for want in wants:
        collect(store, market, want)
    return len(stored(store))
