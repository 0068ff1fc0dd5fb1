"""Whole ticks without Dagster: what is asked for, judged, stored and delivered, and what goes wrong on the way."""

import json
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.fold import MinuteBar
from tv_etl.alerts.former import FormerState, former_key
from tv_etl.alerts.inputs import AlertInputs, Ask, Quote, Wants, Wider
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import RuleState
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.ping import ReadyPing
from tv_etl.alerts.targets.target import ReadyTarget, Secrets, UnusableTarget
from tv_etl.alerts.targets.webhook import WebhookTarget
from tv_etl.alerts.tick import PRUNE_EVERY, TickReport, run_tick
from tv_etl.alerts.watch import Target
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.damage import DamagedRow
from tv_etl.tradingview.errors import ConnectionFailedError, NoBarsError, SymbolError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, Reach, SeriesHistory, SymbolInfo
from tv_etl_tests.alerts.targets.setups import running
from tv_etl_tests.alerts.test_fold import KINDS
from tv_etl_tests.alerts.test_former import document_of, pack

AAPL = {"session": "0930-1600", "timezone": "America/New_York"}
# A Wednesday, 15:00 in London: New York has been open for half an hour.
NOW = datetime.fromisoformat("2026-11-18T15:00:30+00:00").timestamp()
FRIDAY_CLOSE, MONDAY_OPEN = (
    datetime.fromisoformat(text).timestamp() for text in ("2026-11-20T21:00:00+00:00", "2026-11-23T14:30:00+00:00")
)


@dataclass
class Desk:
    """A market as a test writes it down, beside a store: the answers are the client's own types."""

    store: AlertStore
    prices: dict[str, float] = field(default_factory=lambda: {"X:A": 10.0})
    now: float = NOW
    traded_at: float | None = None
    bars: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # (time, price) of flat minutes
    errors: dict[str, Exception] = field(default_factory=dict)
    quote_errors: dict[str, Any] = field(default_factory=dict)
    quote_fields: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=lambda: dict(AAPL))
    past: dict[str, dict[float, float]] = field(default_factory=dict)
    reach: Reach = "complete"
    damage: tuple[DamagedRow, ...] = ()
    is_down: bool = False
    asked: set[str] = field(default_factory=set)
    asks: dict[str, Ask] = field(default_factory=dict)
    wide: dict[tuple[str, str], SeriesHistory] = field(default_factory=dict)
    rounds: Sequence[Collection[str]] = ()  # which symbols come first, and which then; the rest comes last
    after_round: Callable[[int], None] = lambda number: None
    asked_wider: set[tuple[str, str]] = field(default_factory=set)

    def gather(self, asks: Mapping[str, Ask], wants: Wants, wider: Wider) -> Generator[AlertInputs, None, None]:
        if self.is_down:
            raise ConnectionFailedError("127.0.0.1: no connection")
        for symbol, price in self.prices.items():
            for ago in range(15, -1, -1):
                self.past.setdefault(symbol, {}).setdefault(self.now // 60 * 60 - 60 * ago, price)
        traded_at = self.now if self.traded_at is None else self.traded_at
        quotes: dict[str, Quote] = {}
        for symbol, price in self.prices.items():
            if symbol in asks:
                fields = {"lp": price, "lp_time": traded_at, "update_mode": "streaming", **self.quote_fields}
                quotes[symbol] = self.quote_errors.get(symbol) or QuoteSymbolData.from_fields(symbol, fields)
        known = {symbol: quotes.get(symbol) for symbol in asks}
        requests = wider(known, self.now)
        self.asks, self.asked = dict(asks), set(wants(known, self.now))
        minutes = {symbol: self.errors.get(symbol) or self.history(symbol, asks[symbol]) for symbol in self.asked}
        series = {key: self.wide[key] for key in requests if key in self.wide}
        self.asked_wider = set(requests)
        inputs, left = AlertInputs(self.now, quotes, minutes, series=series), set(asks)  # type: ignore[arg-type]
        for number, symbols in enumerate(self.rounds):
            yield inputs.only(symbols)
            left -= set(symbols)
            self.after_round(number)
        yield inputs.only(left)

    def history(self, symbol: str, ask: Ask) -> SeriesHistory:
        known = self.bars.get(symbol) or sorted(self.past[symbol].items())
        rows = [[time, price, price, price, price, 1.0] for time, price in known if time >= (ask.since or 0)]
        request = HistoryRequest(symbol, ask.interval, bars_count=12)
        return SeriesHistory(request, SymbolInfo(self.info), rows, self.reach, None, "streaming", 1, damage=self.damage)

    def tick(
        self, rules: Sequence[AlertRule], targets: Sequence[Target] = (), cursor: str = "", **options: Any
    ) -> TickReport:
        return run_tick(rules, self.store, targets, self.gather, lambda: self.now, cursor=cursor, **options)

    def state(self, symbol: str = "X:A") -> str:
        return self.store.load().state.symbol(symbol).health.state


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(AlertStore(tmp_path / "alerts.sqlite"))


def rule(kind: str = "above", level: float = 9.0, **changes: Any) -> AlertRule:
    fields = {"name": "r", "symbol": "X:A", "kind": kind, "level": level, "cooldown_s": 0}
    return read_rule(fields | changes)


def told(report: TickReport) -> list[tuple[str, str]]:
    return [(alert.kind, alert.rule) for alert in report.found]


# --- identity


@pytest.mark.parametrize("once", [False, True])
def test_a_rule_that_is_removed_and_added_again_tells_again(desk: Desk, once: bool) -> None:
    """An arming's first epoch was 0, and the outbox kept ids for ever: the crossing was swallowed for good."""
    ids = []
    for rules in ([rule(once=once)], [], [rule(once=once)], [], [rule(once=once)]):
        ids += [alert.event_id for alert in desk.tick(rules).found]
        desk.now += 30
    assert len(set(ids)) == len(ids) == 3


def test_a_level_that_is_edited_and_edited_back_tells_again(desk: Desk) -> None:
    levels = []
    for level in (9.0, 8.0, 9.0):
        levels += [alert.level for alert in desk.tick([rule(level=level)]).found]
        desk.now += 30
    assert levels == [9.0, 8.0, 9.0]


def test_minutes_that_are_no_bars_are_told(desk: Desk) -> None:
    desk.damage = (DamagedRow(NOW - 90, NOW - 90),)
    report = desk.tick([rule()])
    assert report.problems == (
        "X:A: 1 rows of the answer were not bars and are left out, at 2026-11-18T14:59:00+00:00",
    )
    assert told(report) == [("above", "r")], "the others are judged all the same"


@pytest.mark.parametrize("cursor", ["", "7", "not a cursor"])
def test_a_lost_cursor_changes_nothing(desk: Desk, cursor: str) -> None:
    assert len(desk.tick([rule()], cursor="1").found) == 1
    desk.now += 30
    again = desk.tick([rule()], cursor=cursor)
    assert (again.tick, again.found) == (2, ())


def test_a_lost_store_tells_what_is_so_again_under_another_id(desk: Desk, tmp_path: Path) -> None:
    [first] = desk.tick([rule()]).found
    desk.now += 30
    [again] = Desk(AlertStore(tmp_path / "another.sqlite"), now=desk.now).tick([rule()]).found
    assert first.event_id != again.event_id


def test_the_state_of_a_cursor_goes_on_in_the_store(desk: Desk) -> None:
    """Its rule is armed, with the close of an hour ago; the crossing since then is told, by the bars from there on."""
    crossing = rule("cross_up", 11.0)
    watermark = int(NOW // 60 * 60) - 3600
    known = {former_key(crossing): (watermark - 600, watermark)}
    cursor = FormerState({key: RuleState(*times) for key, times in known.items()}, {"X:A": watermark}, {"X:A": 10.0})
    desk.bars["X:A"] = [(watermark, 10.0), (watermark + 60, 11.5), (watermark + 120, 10.0)]
    document = document_of(cursor)
    report = desk.tick([crossing], cursor=pack(document))
    assert [(alert.kind, alert.touched_at) for alert in report.found] == [("cross_up", watermark + 60)]
    assert report.problems == () and desk.asks["X:A"].since == watermark


def test_the_state_of_a_cursor_is_taken_over_once(desk: Desk) -> None:
    crossing = rule("cross_up", 11.0)
    watermark = int(NOW // 60 * 60) - 3600
    cursor = pack(document_of(FormerState({former_key(crossing): RuleState(watermark, watermark)}, {"X:A": watermark})))
    desk.tick([crossing])
    known = desk.store.load().state
    desk.is_down = True
    report = desk.tick([crossing], cursor=cursor)
    assert report.problems == ("127.0.0.1: no connection",) and desk.store.load().state == known


# --- inputs


def test_a_quote_that_does_not_come_costs_nobody_else_a_tick(desk: Desk) -> None:
    """One that did not come within 8 s blinded all rules, and the tick ended as SKIPPED."""
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.quote_errors["X:B"] = NoBarsError("X:B: no quotes within 8 s")
    report = desk.tick([rule(name="a"), rule(name="b", symbol="X:B")])
    assert told(report) == [("above", "a"), ("above", "b")]  # b's minutes came
    assert report.problems == ("X:B: X:B: no quotes within 8 s",) and not report.blind


def test_a_tick_that_nothing_was_answered_in_is_blind_with_the_first_reason(desk: Desk) -> None:
    def nothing(asks: Mapping[str, Ask], wants: Wants, wider: Wider) -> Generator[AlertInputs, None, None]:
        yield AlertInputs(desk.now)

    assert run_tick([rule()], desk.store, [], nothing, lambda: desk.now).blind == "nothing was answered"
    desk.quote_errors["X:A"] = desk.errors["X:A"] = NoBarsError("X:A: nothing")
    assert desk.tick([rule()]).blind == "X:A: X:A: nothing"
    assert run_tick([], desk.store, [], nothing, lambda: desk.now).blind == ""


def test_five_thousand_rules_on_five_hundred_symbols_are_judged_and_kept(desk: Desk) -> None:
    """A cursor was too long from some 1,100 rules on; then no rule that crosses fired any more."""
    desk.prices = {f"X:S{number}": 10.0 for number in range(500)}
    rules = [
        rule("cross_up", 10.5 + number % 10, name=f"r{number}", symbol=f"X:S{number % 500}") for number in range(5_000)
    ]
    assert told(desk.tick(rules)) == []
    assert len(desk.store.load().state.armings) == 5_000
    desk.now += 180
    desk.prices = dict.fromkeys(desk.prices, 12.0)
    found = desk.tick(rules).found
    assert {alert.rule for alert in found} == {
        each.name for number, each in enumerate(rules) if 10.5 + number % 10 <= 12.0
    }
    assert desk.store.stats.pending == 0  # there is no target; they are kept all the same


def test_only_symbols_that_matter_are_asked_for_minutes(desk: Desk) -> None:
    desk.prices = {symbol: 10.0 for symbol in ("X:FAR", "X:NEAR", "X:SPENT", "X:OVER", "X:SHUT")}
    desk.quote_fields = {"high_price": 10.4, "low_price": 9.8}
    expired = datetime.fromisoformat("2026-11-18T15:02:00+00:00")
    rules = [
        rule("cross_up", 12.0, name="far", symbol="X:FAR"),
        rule("cross_up", 10.3, name="near", symbol="X:NEAR"),
        rule("above", 9.0, name="spent", symbol="X:SPENT", once=True),
        rule("cross_up", 10.3, name="over", symbol="X:OVER", expires_at=expired),
    ]
    desk.tick(rules)
    assert desk.asked == {"X:FAR", "X:NEAR", "X:SPENT", "X:OVER"}
    desk.now += 600
    desk.tick(rules)
    assert desk.asked == {"X:NEAR", "X:OVER"}  # what was touched before it expired is still to be told
    desk.now += 60
    desk.tick(rules)
    assert desk.asked == {"X:NEAR"}


def test_a_day_that_is_not_the_watermarks_is_asked_for(desk: Desk) -> None:
    """What Tuesday's quote says of its range says nothing of Monday's end."""
    desk.quote_fields = {"high_price": 10.4, "low_price": 9.8}
    desk.tick([rule("cross_up", 12.0)])
    desk.now += 86_400
    desk.tick([rule("cross_up", 12.0)])
    assert desk.asked == {"X:A"}


def test_a_rule_that_is_added_on_saturday_sees_mondays_gap(desk: Desk) -> None:
    desk.now, desk.traded_at = FRIDAY_CLOSE + 86_400, FRIDAY_CLOSE
    desk.bars["X:A"] = [(FRIDAY_CLOSE - 60 * ago, 10.0) for ago in range(12, 0, -1)]
    assert told(desk.tick([rule("cross_up", 11.0)])) == []
    desk.now = desk.traded_at = MONDAY_OPEN + 400
    desk.prices["X:A"] = 12.0
    desk.bars["X:A"] += [(MONDAY_OPEN + 60 * minute, 12.0) for minute in range(6)]
    [gap] = desk.tick([rule("cross_up", 11.0)]).found
    assert (gap.price, gap.touched_at) == (12.0, int(MONDAY_OPEN))


@pytest.mark.parametrize("source", ["quote", "lake"])
def test_a_first_side_is_taken_from_what_is_known(desk: Desk, source: str) -> None:
    """No minute came on Saturday: the last quote is the side, or the last close in the lake."""
    desk.now, desk.traded_at = FRIDAY_CLOSE + 86_400, FRIDAY_CLOSE - 60
    desk.errors["X:A"] = NoBarsError("X:A 1m: no answer in time")
    if source == "lake":
        desk.quote_errors["X:A"] = NoBarsError("X:A: no quotes within 8 s")
    close = MinuteBar(int(FRIDAY_CLOSE) - 60, 10.0, 10.0, 10.0, 10.0)
    desk.prices["X:B"] = 10.0
    rules = [rule("cross_up", 11.0), rule("cross_up", 11.0, name="b", symbol="X:B")]
    desk.tick(rules, lake_close=lambda symbol: close)
    assert desk.store.load().state.watermark("X:A") == FRIDAY_CLOSE - 60
    desk.errors, desk.quote_errors = {}, {}
    desk.now = desk.traded_at = MONDAY_OPEN + 400
    desk.prices["X:A"] = 12.0
    desk.bars["X:A"] = [(FRIDAY_CLOSE - 60, 10.0), *((MONDAY_OPEN + 60 * minute, 12.0) for minute in range(6))]
    assert [alert.touched_at for alert in desk.tick(rules).found] == [int(MONDAY_OPEN)]


def test_a_lake_that_cannot_be_read_is_told_and_stops_nothing(desk: Desk) -> None:
    def broken(symbol: str) -> None:
        raise OSError("no such directory")

    desk.errors["X:A"] = NoBarsError("X:A 1m: no answer in time")
    desk.quote_fields["lp_time"] = None
    report = desk.tick([rule()], lake_close=broken)
    assert told(report) == [("above", "r")]
    assert "X:A: its last close in the lake: no such directory" in report.problems


@pytest.mark.parametrize("kind", KINDS)
def test_a_symbol_without_any_bars_is_judged_by_its_quotes(desk: Desk, kind: str) -> None:
    """It never fired, and nobody was told."""
    desk.errors["X:A"] = NoBarsError("X:A 1m: no bars", is_empty_answer=True)
    prices = [10.0, 10.0, 12.0, 12.0, 10.0, 10.0]
    reports = []
    for price in prices:
        desk.prices["X:A"] = price
        reports.append(desk.tick([rule(kind, 11.0)]))
        assert desk.asked == ({"X:A"} if len(reports) == 1 else set())  # bars are asked for once a day
        desk.now += 300
    expected = {
        "above": [2], "below": [0, 4], "cross_up": [2], "cross_down": [4], "cross": [2, 4]
    }  # fmt: skip
    assert [number for number, report in enumerate(reports) for _ in report.found] == expected[kind]
    assert "X:A: it has no one-minute bars; judged by its quotes alone" in reports[0].problems
    assert desk.state() == "ok"


def test_a_symbol_of_daily_bars_fires_by_its_quotes_and_rearms_by_its_daily_close(desk: Desk) -> None:
    """A fund: the day's close below the level arms it, and the next day's price fires."""
    day = 86_400.0
    opened = MONDAY_OPEN - 5 * day  # Wednesday
    desk.now = opened + 3_600
    desk.info |= {"session": "24x7", "timezone": "Etc/UTC"}

    def tick(price: float, *closes: float) -> list[str]:
        desk.prices["X:A"] = price
        desk.bars["X:A"] = [(opened + number * day, close) for number, close in enumerate(closes, -3)]
        return [
            alert.kind for alert in run_tick([rule("cross_up", 11.0)], desk.store, [], by_day, lambda: desk.now).found
        ]

    def by_day(asks: Mapping[str, Ask], wants: Wants, wider: Wider) -> Generator[AlertInputs, None, None]:
        # As `gather` does where there are no minutes.
        daily = {symbol: Ask(ask.since, "1d") for symbol, ask in asks.items()}
        return desk.gather(daily, wants, wider)

    assert tick(10.0, 10.0, 10.0, 10.0, 10.0) == []
    desk.now += 60
    assert tick(12.0, 10.0, 10.0, 10.0, 12.0) == ["cross_up"]
    desk.now += day
    assert tick(12.0, 10.0, 10.0, 10.0, 12.0, 12.0) == []
    desk.now += day
    assert tick(10.0, 10.0, 10.0, 10.0, 12.0, 12.0, 10.0) == []
    desk.now += day
    assert tick(10.5, 10.0, 10.0, 10.0, 12.0, 12.0, 10.0, 10.5) == []
    desk.now += 60
    assert tick(13.0, 10.0, 10.0, 10.0, 12.0, 12.0, 10.0, 13.0) == ["cross_up"]
    assert desk.store.load().state.symbol("X:A").served == "1d"


def test_a_quote_time_in_milliseconds_is_no_time_and_breaks_nothing(desk: Desk) -> None:
    desk.quote_fields["lp_time"] = NOW * 1000
    assert told(desk.tick([rule()])) == [("above", "r")]


# --- states


def test_a_symbol_without_data_is_told_and_mutes_nobody_else(desk: Desk) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    rules = [rule(name="a"), rule("cross_up", 11.0, name="b", symbol="X:B")]
    desk.tick(rules)
    desk.quote_errors["X:A"] = desk.errors["X:A"] = NoBarsError("X:A: nothing")
    seen = []
    for _ in range(24):
        desk.now += 30
        seen += [(alert.kind, alert.symbol) for alert in desk.tick(rules).found]
    assert seen == [("no_data", "X:A")]
    desk.prices["X:B"] = 12.0
    assert told(desk.tick(rules)) == [("cross_up", "b")]
    desk.quote_errors, desk.errors = {}, {}
    desk.now += 30
    assert told(desk.tick(rules)) == [("ok", "a")]


def test_a_refused_symbol_is_told_with_the_servers_words(desk: Desk) -> None:
    desk.quote_errors["X:A"] = SymbolError("X:A", "permission_denied")
    desk.errors["X:A"] = NoBarsError("X:A: nothing")
    report = desk.tick([rule()])
    assert [alert.text for alert in report.found] == [
        "X:A: permission_denied: the server refuses it; not watched (rule r)"
    ]
    assert not report.blind


def test_bars_that_begin_too_late_are_told_once_and_so_is_their_end(desk: Desk) -> None:
    """It was in the log alone."""
    desk.tick([rule("cross_up", 11.0)])
    known = desk.store.load().state.watermark("X:A")
    assert known is not None
    desk.now += 10 * 86_400
    desk.reach, desk.bars["X:A"] = "limited", [(desk.now // 60 * 60 - 60 * ago, 10.0) for ago in range(9, -1, -1)]
    [alert] = desk.tick([rule("cross_up", 11.0)]).found
    assert (alert.kind, alert.rule) == ("limited", "r")
    assert alert.text == (
        "X:A: the server's bars begin at 2026-11-28 14:51 UTC, the last one before is of 2026-11-18 14:58 UTC: "
        "what crossed before is missed (rule r)"
    )
    desk.now += 30
    desk.reach = "complete"
    assert told(desk.tick([rule("cross_up", 11.0)])) == [("ok", "r")]
    desk.now += 30
    assert told(desk.tick([rule("cross_up", 11.0)])) == []


# --- the watch itself


class Hooks:
    """Webhooks on loopback: each path answers with its number, and keeps what was posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.status: dict[str, int] = {}
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hooks.posted.append((self.path[1:], body))
                self.send_response(hooks.status.get(self.path[1:], 204))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def target(self, name: str) -> ReadyTarget:
        url = f"http://127.0.0.1:{self.server.server_port}/{name}"
        return ReadyTarget(WebhookTarget(type="webhook", url_env=name, allow_private=True), Secrets({name: url}))

    def narrow(self, name: str, **filters: Any) -> ReadyTarget:
        """The same, but for some alerts only."""
        found = self.target(name)
        return ReadyTarget(found.spec.model_copy(update=filters), found.secrets)

    def kinds(self, name: str) -> list[str]:
        return [body["kind"] for path, body in self.posted if path == name]


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    made = Hooks()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_blind_for_ten_minutes_is_told_once_and_so_is_its_end(desk: Desk, hooks: Hooks) -> None:
    """A server that could not be reached ended as SKIPPED: blind looked healthy."""
    target = hooks.target("ONE")
    desk.tick([rule()], [target])
    before = desk.store.load().state
    desk.is_down = True
    for _ in range(25):
        desk.now += 30
        assert desk.tick([rule()], [target]).blind == "127.0.0.1: no connection"
    assert hooks.kinds("ONE") == ["above", "blind"]
    assert "no rule has been judged for 10 minutes: 127.0.0.1: no connection" in hooks.posted[-1][1]["text"]
    assert desk.store.load().state == before
    desk.is_down = False
    desk.now += 30
    desk.tick([rule()], [target])
    assert hooks.kinds("ONE") == ["above", "blind", "seeing"]


def test_a_target_that_refuses_is_told_on_every_other_and_its_alerts_wait(desk: Desk, hooks: Hooks) -> None:
    """A proxy's 404 during a deploy killed 50 alerts, and was seen nowhere."""
    one, two = hooks.target("ONE"), hooks.target("TWO")
    hooks.status["ONE"] = 404
    for _ in range(25):
        desk.tick([rule()], [one, two])
        desk.now += 30
    assert hooks.kinds("TWO") == ["above", "target"]
    text = "the target ONE (127.0.0.1) cannot be reached for 10 minutes: ONE (127.0.0.1): HTTP 404"
    assert [body["text"] for path, body in hooks.posted if path == "TWO"][1] == text
    tries = len(hooks.kinds("ONE"))
    assert 5 <= tries <= 10  # hammered it would have been 25 times
    del hooks.status["ONE"]
    desk.now += 300
    for _ in range(2):
        desk.tick([rule()], [one, two])
        desk.now += 30
    assert hooks.kinds("ONE")[tries:] == ["above"]
    assert hooks.kinds("TWO") == ["above", "target", "target_ok"]
    assert desk.store.stats == DeliveryStats(pending=0, delivered=4, dead=0)


def test_dead_letters_are_told_on_every_other_target_and_sent_again_on_request(desk: Desk, hooks: Hooks) -> None:
    one, two = hooks.target("ONE"), hooks.target("TWO")
    hooks.status["ONE"] = 410
    for _ in range(3):
        desk.tick([rule()], [one, two])
        desk.now += 30
    assert hooks.kinds("TWO") == ["above", "dead_letters"]
    assert (
        hooks.posted[-1][1]["text"]
        == "1 alerts for the target ONE (127.0.0.1) were given up: ONE (127.0.0.1): HTTP 410"
    )
    [letter] = desk.store.dead_letters(10)
    assert (letter.rule, letter.target) == ("r", "json ONE")
    del hooks.status["ONE"]
    assert desk.store.resend([letter.event_id]) == 1
    desk.tick([rule()], [one, two])
    assert hooks.kinds("ONE") == ["above", "above"]
    assert desk.store.dead_letters(10) == []


def test_a_target_without_an_address_stops_itself_alone(desk: Desk, hooks: Hooks) -> None:
    """A missing variable made every tick red, and nothing was judged."""
    one, two = UnusableTarget("json ONE", "ONE", "environment variable ONE is not set"), hooks.target("TWO")
    for _ in range(2):
        report = desk.tick([rule()], [one, two])
        desk.now += 30
    assert report.errors == ("ONE: environment variable ONE is not set",)
    assert hooks.kinds("TWO") == ["above", "target"]
    assert hooks.posted[-1][1]["text"] == "the target ONE cannot be reached: environment variable ONE is not set"
    for _ in range(2):
        desk.tick([rule()], [hooks.target("ONE"), two])
        desk.now += 30
    assert (hooks.kinds("ONE"), hooks.kinds("TWO")) == (["above"], ["above", "target", "target_ok"])


def test_a_target_gets_what_it_wants_and_all_that_becomes_of_the_watch(desk: Desk, hooks: Hooks) -> None:
    pager, two = hooks.narrow("ONE", severity=["critical"]), hooks.target("TWO")
    hooks.status["TWO"] = 410
    desk.tick([rule()], [pager, two])
    assert (hooks.kinds("ONE"), hooks.kinds("TWO")) == ([], ["above"])
    desk.now += 30
    desk.tick([rule()], [pager, two])
    assert hooks.kinds("ONE") == ["dead_letters"]
    assert hooks.posted[-1][1]["severity"] == "error"


def test_alerts_for_a_target_without_an_address_are_given_up_after_a_day(desk: Desk) -> None:
    one = UnusableTarget("json ONE", "ONE", "environment variable ONE is not set")
    desk.tick([rule()], [one])
    desk.now += 86_400
    assert desk.tick([rule()], [one]).dead == 1
    assert desk.store.dead_letters(10)[0].error == "ONE: environment variable ONE is not set"


def test_what_was_delivered_is_forgotten_after_a_month_and_nothing_else(desk: Desk, hooks: Hooks) -> None:
    one, two = hooks.target("ONE"), hooks.target("TWO")
    hooks.status["TWO"] = 500
    desk.tick([rule()], [one])
    desk.now += 60
    desk.tick([rule(level=8.0)], [one, two])
    assert desk.store.prune(desk.now + 29 * 86_400) == 0
    assert desk.store.prune(desk.now + 31 * 86_400) == 1
    assert desk.store.stats == DeliveryStats(pending=1, delivered=1, dead=0)
    desk.now += 60
    assert desk.tick([rule(level=8.0)], [one]).found == ()


def test_every_hundredth_tick_forgets_what_is_old(desk: Desk, hooks: Hooks) -> None:
    one = hooks.target("ONE")
    desk.tick([rule()], [one])
    desk.now += 40 * 86_400
    for _ in range(PRUNE_EVERY - 2):
        desk.tick([], [one])
    assert desk.store.stats.delivered == 1
    desk.tick([], [one])
    assert desk.store.stats.delivered == 0


def test_one_broken_rule_harms_no_other(desk: Desk) -> None:
    broken = rule(name="broken").model_copy(update={"expires_at": "no time"})
    report = desk.tick([broken, rule(name="good")])
    assert told(report) == [("above", "good")]
    assert "rule broken: unexpected AttributeError" in report.problems[0]
    assert desk.asked == {"X:A"}  # as if the rule needed them


def test_a_real_server_is_asked_and_judged(desk: Desk) -> None:
    """Without Dagster: a command can do the same."""
    with serve_in_thread(Market(7), ServerOptions(clock=MarketClock(NOW, speed=0))) as server:
        gather = TradingViewResource(ws_url=server.url).alert_inputs
        rules = [rule(symbol="NASDAQ:AAPL", level=1.0), rule(name="gone", symbol="NASDAQ:NOPE")]
        first = run_tick(rules, desk.store, [], gather, lambda: NOW)
        again = run_tick(rules, desk.store, [], gather, lambda: NOW + 30)
    assert told(first) == [("above", "r"), ("dead", "gone")]
    assert told(again) == []
    kept = desk.store.load().state.symbol("NASDAQ:AAPL")
    assert kept.watermark and "America/New_York" in kept.hours


# --- by hand

HOUR_S = 3_600


def advance(desk: Desk, price: float, seconds: float = 180.0) -> None:
    """Let the price stand for so long."""
    desk.prices["X:A"] = price
    for _ in range(int(seconds // 60)):
        desk.now += 60
        desk.past["X:A"][desk.now // 60 * 60] = price


def test_what_a_muted_rule_finds_is_kept_and_told_nobody_and_its_end_is_one_line(desk: Desk, hooks: Hooks) -> None:
    crossing, one = rule("cross_up"), hooks.target("ONE")
    desk.prices["X:A"] = 8.0
    desk.tick([crossing], [one])
    desk.store.mute("r", "", HOUR_S, desk.now)
    for price in (8.0, 10.0, 8.0, 10.0, 8.0):
        advance(desk, price)
        desk.tick([crossing], [one])
    assert hooks.kinds("ONE") == []
    assert [each.kept_back for each in desk.store.hand_mutes()] == [1]  # by its quote; closes were not asked for
    advance(desk, 10.0, HOUR_S)
    report = desk.tick([crossing], [one])
    assert told(report) == [("cross_up", "r"), ("cross_up", "r"), ("unmuted", "r")]
    assert hooks.kinds("ONE") == ["unmuted"]
    assert hooks.posted[-1][1]["text"] == "rule r, muted by hand, is told again; 3 of its alerts were kept back"
    for price in (8.0, 10.0):
        advance(desk, price)
        desk.tick([crossing], [one])
    assert hooks.kinds("ONE") == ["unmuted", "cross_up"]


def test_no_minutes_are_asked_for_a_muted_rule(desk: Desk) -> None:
    crossing = rule("cross_up", 10.5)
    desk.tick([crossing])
    desk.store.mute("r", "", 3 * HOUR_S, desk.now)
    asked = []
    for price in (8.0, 11.0, 8.0, 11.0, 8.0):
        advance(desk, price, 240.0)
        desk.tick([crossing])
        asked.append(bool(desk.asked))
    assert asked == [True, False, False, False, False]  # once, for what was traded before the mute
    advance(desk, 8.0, 3 * HOUR_S)
    report = desk.tick([crossing])
    assert desk.asked == {"X:A"}
    assert [each.is_muted for each in report.found if each.kind == "cross_up"] == [True]
    assert len({each.event_id for each in desk.store.newest(9) if each.body["kind"] == "cross_up"}) == 2


def test_a_targets_filters_let_through_that_a_rule_is_told_again(desk: Desk, hooks: Hooks) -> None:
    loud, pager = rule(severity="critical", tags=["fx"]), hooks.narrow("ONE", severity=["critical"], tags=["fx"])
    desk.tick([])
    desk.tick([loud, rule(name="other")], [])
    desk.store.mute("r", "", 60, desk.now)
    desk.store.mute("other", "", 60, desk.now)
    desk.tick([rule(level=9.5, severity="critical", tags=["fx"]), rule(name="other", level=9.5)], [pager])
    desk.now += 120
    desk.tick([rule(level=9.5, severity="critical", tags=["fx"]), rule(name="other", level=9.5)], [pager])
    assert [body["rule"] for _, body in hooks.posted] == ["r"]


def test_the_mute_of_a_hand_and_that_of_the_cap_end_each_by_itself(desk: Desk, hooks: Hooks) -> None:
    listed, one = many(symbols=[f"X:{number}" for number in range(20)]), hooks.target("ONE")
    desk.prices = dict.fromkeys(listed.symbols, 10.0)
    desk.tick([listed], [one])
    assert desk.store.load().mutes["r"].kept_back == 5
    desk.store.mute("r", "", 2 * HOUR_S, desk.now)
    desk.store.unmute("r", "", desk.now + 60)
    assert desk.store.load().mutes["r"].until == desk.now + HOUR_S
    desk.store.mute("r", "", 2 * HOUR_S, desk.now + 60)
    desk.now += HOUR_S + 60
    report = desk.tick([listed], [one])
    assert [(each.kind, each.is_muted) for each in report.found] == [("unmuted", True)]
    assert desk.store.load().mutes == {}
    assert [each.is_on(desk.now) for each in desk.store.hand_mutes()].count(True) == 1


REMINDING: dict[str, Any] = {"resolved": True, "remind": "1h"}


def test_people_are_reminded_until_it_is_over(desk: Desk, hooks: Hooks) -> None:
    reminding, one = rule(**REMINDING, message="look at {symbol}"), hooks.target("ONE")
    desk.tick([reminding], [one])
    for _ in range(3):
        advance(desk, 10.0, HOUR_S)
        desk.tick([reminding], [one])
        desk.tick([reminding], [one])
    assert hooks.kinds("ONE") == ["above", "reminder", "reminder", "reminder"]
    first, _, _, last = (body for _, body in hooks.posted)
    assert (last["incident"], last["status"], last["message"]) == (first["event_id"], "firing", "reminder: look at X:A")
    assert last["text"].startswith("not over after 3 hours: X:A is above 9 at 10")
    advance(desk, 8.0)
    desk.tick([reminding], [one])
    advance(desk, 8.0, 2 * HOUR_S)
    desk.tick([reminding], [one])
    assert hooks.kinds("ONE")[4:] == ["resolved"]
    assert desk.store.load().reminders == {}


def test_an_acknowledgement_ends_the_reminders_of_that_alert_and_no_other(desk: Desk, hooks: Hooks) -> None:
    reminding, one = rule(**REMINDING), hooks.target("ONE")
    desk.tick([reminding], [one])
    advance(desk, 10.0)
    desk.tick([reminding], [one])
    desk.store.acknowledge(hooks.posted[0][1]["event_id"][:6], desk.now)
    for price, seconds in ((10.0, 3 * HOUR_S), (8.0, 180.0), (10.0, 180.0), (10.0, HOUR_S)):
        advance(desk, price, seconds)
        desk.tick([reminding], [one])
    assert hooks.kinds("ONE") == ["above", "resolved", "above", "reminder"]
    assert desk.store.load().acks[hooks.posted[0][1]["event_id"]].told_at is not None


def test_while_a_rule_is_muted_nobody_is_reminded(desk: Desk, hooks: Hooks) -> None:
    reminding, one = rule(**REMINDING), hooks.target("ONE")
    desk.tick([reminding], [one])
    advance(desk, 10.0)
    desk.tick([reminding], [one])
    desk.store.mute("r", "", 5 * HOUR_S, desk.now)
    advance(desk, 10.0, 3 * HOUR_S)
    assert desk.tick([reminding], [one]).found == ()
    desk.store.unmute("r", "", desk.now)
    advance(desk, 10.0, 60)
    desk.tick([reminding], [one])
    assert hooks.kinds("ONE") == ["above", "reminder"]


def test_an_acknowledgement_is_told_once_to_a_service_that_has_the_notion(desk: Desk, hooks: Hooks) -> None:
    with running("pagerduty") as setup:
        pager, one = setup.target, hooks.target("ONE")
        desk.tick([rule()], [pager, one])
        event_id = hooks.posted[0][1]["event_id"]
        desk.store.acknowledge(event_id, desk.now)
        for _ in range(2):
            desk.now += 60
            setup.service.now = desk.now
            desk.tick([rule()], [pager, one])
        assert [each["event_action"] for each in setup.service.taken] == ["trigger", "acknowledge"]
        assert setup.service.acknowledged == {event_id}
        assert hooks.kinds("ONE") == ["above"]


def test_without_such_a_service_an_acknowledgement_is_no_event(desk: Desk, hooks: Hooks) -> None:
    desk.tick([rule()], [hooks.target("ONE")])
    desk.store.acknowledge(hooks.posted[0][1]["event_id"], desk.now)
    desk.now += 60
    assert desk.tick([rule()], [hooks.target("ONE")]).found == ()
    assert [each.acked_at is not None for each in desk.store.newest(9)] == [True]


def test_the_dead_mans_switch_is_called_after_good_ticks_and_not_after_blind_ones(desk: Desk) -> None:
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            self.send_response(200 if len(got) < 3 else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        ping = ReadyPing(60.0, f"http://127.0.0.1:{server.server_port}/ping", allow_private=True)
        assert desk.tick([rule()], ping=ping).ping == ""
        desk.is_down = True
        desk.now += 60
        assert desk.tick([rule()], ping=ping).blind
        assert got == ["/ping"]
        desk.is_down = False
        for expected in (2, 3, 4):
            desk.now += 60
            report = desk.tick([rule()], ping=ping)
            assert len(got) == expected
        server.shutdown()
        thread.join()
    assert report.summary.startswith("0 alerts found, 0 delivered; the ping failed 2 times in a row: HTTP 503")


# --- rounds


class Killed(BaseException):
    """What ends a process at once."""


def test_what_has_answered_is_delivered_before_the_rest_has(desk: Desk, hooks: Hooks) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.rounds = [["X:A"]]
    delivered: list[list[str]] = []
    desk.after_round = lambda number: delivered.append([body["symbol"] for _, body in hooks.posted])
    report = desk.tick([rule(name="a"), rule(name="b", symbol="X:B")], [hooks.target("ONE")])
    assert delivered == [["X:A"]]
    assert [body["symbol"] for _, body in hooks.posted] == ["X:A", "X:B"]
    assert (told(report), report.sent, report.tick) == ([("above", "a"), ("above", "b")], 2, 2)


def test_a_tick_that_is_killed_between_two_rounds_loses_and_doubles_nothing(desk: Desk, hooks: Hooks) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0, "X:C": 10.0}
    desk.rounds = [["X:A"], ["X:B"]]
    rules, target = [rule(name=name.lower(), symbol=f"X:{name}") for name in "ABC"], hooks.target("ONE")

    def die_after(fatal: int) -> Callable[[int], None]:
        def die(number: int) -> None:
            if number == fatal:
                raise Killed

        return die

    for fatal in (0, 1, 2):
        desk.after_round = die_after(fatal)
        with suppress(Killed):
            desk.tick(rules, [target])
        desk.now += 30
    assert [body["symbol"] for _, body in hooks.posted] == ["X:A", "X:B", "X:C"]
    assert len({body["event_id"] for _, body in hooks.posted}) == 3
    assert desk.store.stats == DeliveryStats(pending=0, delivered=3, dead=0)


def test_new_rules_are_told_of_a_symbol_that_is_dead_although_a_tick_was_killed_before(desk: Desk) -> None:
    """The round before has registered them."""
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.quote_errors["X:B"] = desk.errors["X:B"] = SymbolError("X:B", "no such symbol")
    rules = [rule(name="a"), rule(name="b", symbol="X:B")]
    assert told(desk.tick(rules)) == [("above", "a"), ("dead", "b")]

    def die(number: int) -> None:
        raise Killed

    desk.rounds, desk.after_round = [["X:A"]], die
    rules.append(rule(name="c", symbol="X:B"))
    with pytest.raises(Killed):
        desk.tick(rules)
    desk.rounds = []
    assert told(desk.tick(rules)) == [("dead", "c")]
    assert told(desk.tick(rules)) == []


def test_the_cap_of_a_rule_counts_over_rounds(desk: Desk) -> None:
    desk.prices = {f"X:S{number}": 10.0 for number in range(20)}
    names = list(desk.prices)
    desk.rounds = [names[:8], names[8:14]]
    report = desk.tick([many(symbols=names)])
    assert [alert.is_muted for alert in report.found if alert.kind == "above"] == [False] * 15 + [True] * 5
    assert [alert.kind for alert in report.found].count("muted") == 1


def test_a_symbol_of_which_nothing_was_heard_is_judged_once_others_were(desk: Desk) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.quote_errors["X:B"] = desk.errors["X:B"] = NoBarsError("X:B: nothing")
    rules = [rule(name="a"), rule(name="b", symbol="X:B")]
    desk.rounds = [["X:B"]]
    for _ in range(21):
        report = desk.tick(rules)
        assert not report.blind and report.problems[:1] == ("X:B: X:B: nothing",)
        desk.now += 30
    assert desk.state("X:B") == "no_data" and desk.state() == "ok"


def test_inputs_that_end_early_with_an_error_are_judged_as_far_as_they_came(desk: Desk) -> None:
    def ends(number: int) -> None:
        raise ConnectionFailedError("127.0.0.1: gone")

    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.rounds, desk.after_round = [["X:A"]], ends
    report = desk.tick([rule(name="a"), rule(name="b", symbol="X:B")])
    assert (told(report), report.problems, report.blind) == ([("above", "a")], ("127.0.0.1: gone",), "")


def test_a_target_is_told_of_once_a_tick_however_many_rounds_it_has(desk: Desk, hooks: Hooks) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    desk.rounds = [["X:A"]]
    targets: list[Target] = [hooks.target("ONE"), UnusableTarget("two", "TWO", "is not set")]
    desk.tick([rule(name="a"), rule(name="b", symbol="X:B")], targets)
    assert hooks.kinds("ONE").count("target") == 1 and len(hooks.posted) == 3


# --- rules for many symbols


def many(**changes: Any) -> AlertRule:
    return read_rule({"name": "r", "kind": "above", "level": 9.0, "cooldown_s": 0} | changes)


def symbols(report: TickReport) -> list[str]:
    return [alert.symbol for alert in report.found]


def test_a_rule_for_a_list_watches_each_symbol_by_itself(desk: Desk) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 8.0, "X:C": 11.0}
    listed = many(symbols=["X:A", "X:B", "X:C"])
    assert symbols(desk.tick([listed])) == ["X:A", "X:C"]
    desk.now += 180
    desk.prices["X:B"] = 9.5
    assert symbols(desk.tick([listed])) == ["X:B"]


def test_a_symbol_that_is_added_does_not_arm_the_others_anew(desk: Desk) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    assert symbols(desk.tick([many(symbols=["X:A"])])) == ["X:A"]
    desk.now += 30
    assert symbols(desk.tick([many(symbols=["X:A", "X:B"])])) == ["X:B"]


def test_a_symbol_that_is_removed_and_added_again_tells_again(desk: Desk) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    ids = []
    for listed in (["X:A", "X:B"], ["X:B"], ["X:A", "X:B"]):
        ids += [alert.event_id for alert in desk.tick([many(symbols=listed)]).found if alert.symbol == "X:A"]
        desk.now += 30
    assert len(set(ids)) == len(ids) == 2


def test_the_symbols_of_a_group_are_kept_with_the_rule(desk: Desk) -> None:
    """Where nobody can say what is in it, those of the last tick are watched."""
    desk.prices = {"X:A": 8.0, "X:B": 8.0}
    grouped = many(symbols={"group": "us"})
    assert desk.tick([grouped]).found == ()
    assert desk.tick([grouped], groups={"us": ["X:A", "X:B"]}).found == ()
    assert set(desk.asks) == {"X:A", "X:B"}
    desk.now += 180
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    assert symbols(desk.tick([grouped])) == ["X:A", "X:B"]
    desk.now += 30
    assert desk.tick([grouped], groups={"us": ["X:B"]}).found == ()
    assert set(desk.asks) == {"X:B"}


def test_a_member_that_is_not_known_is_told_once(desk: Desk) -> None:
    desk.prices = {"X:A": 8.0}
    desk.quote_errors["X:B"] = SymbolError("X:B", "no such symbol")
    desk.errors["X:B"] = SymbolError("X:B", "no such symbol")
    desk.prices["X:B"] = 1.0
    listed = many(symbols=["X:A", "X:B"])
    assert told(desk.tick([listed])) == [("dead", "r")]
    desk.now += 30
    assert told(desk.tick([listed])) == []


def test_a_rule_that_fires_too_often_is_muted_and_what_it_finds_is_kept(desk: Desk) -> None:
    desk.prices = {f"X:S{number}": 10.0 for number in range(20)}
    target = UnusableTarget("t", "t", "is not set")
    report = desk.tick([many(symbols=list(desk.prices))], [target])
    kinds = [alert.kind for alert in report.found]
    assert kinds.count("above") == 20 and kinds.count("muted") == 1
    assert desk.store.stats.pending == 15 + 1  # the target is not told about itself
    desk.now += 3_601
    again = desk.tick([many(symbols=list(desk.prices))], [target])
    assert "unmuted" in [alert.kind for alert in again.found]


# --- bars of other intervals


def wide_answer(*closes: float, until: float, width: int = 3_600, forming: bool = False) -> SeriesHistory:
    """Bars one after the other, the last of which ends at a moment."""
    first = until - len(closes) * width
    rows = [[first + number * width, close, close, close, close, 1.0] for number, close in enumerate(closes)]
    info = SymbolInfo({"session": "24x7", "timezone": "Etc/UTC"})
    forming_from = int(rows[-1][0]) if forming else None
    request = HistoryRequest("X:A", "1h", bars_count=9)
    return SeriesHistory(request, info, rows, "complete", forming_from, "streaming", 1, 0)


def test_a_close_is_told_when_its_bar_has_settled_and_not_before(desk: Desk) -> None:
    hour = NOW // 3_600 * 3_600
    desk.info = {"session": "24x7", "timezone": "Etc/UTC"}
    closing = rule("cross_up", 11.0, on="close", interval="1h")
    desk.wide["X:A", "1h"] = wide_answer(9, 9, until=hour)
    desk.now = hour + 100
    assert told(desk.tick([closing])) == []
    assert desk.asked_wider == {("X:A", "1h")}
    desk.now = hour + 3_600 + 30
    desk.tick([closing])
    assert desk.asked_wider == set()
    desk.now, desk.wide["X:A", "1h"] = hour + 3_700, wide_answer(9, 9, 12, until=hour + 3_600)
    [alert] = desk.tick([closing]).found
    assert (alert.kind, alert.price, alert.touched_at) == ("cross_up", 12.0, int(hour) + 3_600)
    assert desk.asked == {"X:A"}  # a split would show in its minutes
    desk.now += 30
    assert told(desk.tick([closing])) == [] and desk.asked_wider == set()


def test_the_lake_is_read_instead_of_asking(desk: Desk) -> None:
    hour = int(NOW // 3_600 * 3_600)
    rows = [[hour - 3_600 * ago, 9.0, 9.0, 9.0, 9.0, 1.0] for ago in range(9, 0, -1)]
    closing = rule("cross_up", 11.0, on="close", interval="1h")
    desk.now = hour + 100
    desk.tick([closing], lake_bars=lambda symbol, interval, count: rows[-count:])
    assert desk.asked_wider == set()
    assert len(desk.store.load().state.armings) == 1


def test_a_level_of_bars_is_kept_in_the_store_until_its_bar_ends(desk: Desk) -> None:
    hour = NOW // 3_600 * 3_600
    high = rule("cross_up", level="high(2)", interval="1h")  # type: ignore[arg-type]
    desk.wide["X:A", "1h"] = wide_answer(10.5, 11, 10, until=hour + 3_600, forming=True)
    desk.now = hour + 200
    desk.tick([high])
    assert desk.asked_wider == {("X:A", "1h")}
    desk.wide.clear()
    desk.now += 180
    desk.prices["X:A"] = 11.0
    [alert] = desk.tick([high]).found
    assert (alert.level, desk.asked_wider) == (11.0, set())


def test_a_day_of_much_volume_is_told_by_its_quote(desk: Desk) -> None:
    midnight = NOW // 86_400 * 86_400
    volume = read_rule({"name": "v", "symbol": "X:A", "kind": "day_volume", "volume": 1_000})
    desk.wide["X:A", "1d"] = wide_answer(9, 9, 9, until=midnight + 86_400, width=86_400, forming=True)
    desk.quote_fields = {"volume": 900.0}
    assert told(desk.tick([volume])) == []
    desk.now += 60
    desk.quote_fields = {"volume": 1_100.0}
    assert [(alert.kind, alert.price) for alert in desk.tick([volume]).found] == [("day_volume", 1_100.0)]


def test_the_extended_session_is_asked_for_and_rules_of_the_regular_one_do_not_see_it(desk: Desk) -> None:
    opened = datetime.fromisoformat("2026-11-18T14:30:00+00:00").timestamp()
    extended = rule("cross_up", 11.0, name="extended", active={"session": "extended"})
    rules = [extended, rule("cross_up", 11.0, name="regular")]
    desk.now = opened - 3_600
    desk.past["X:A"] = {desk.now // 60 * 60 - 60 * ago: 10.0 for ago in range(30)}
    desk.past["X:A"] |= {desk.now // 60 * 60 - 86_400 * 1 + 3_600 * 5: 10.0}
    assert told(desk.tick(rules)) == []
    assert desk.asks["X:A"].session == "extended"
    desk.now += 300
    desk.prices["X:A"] = 12.0
    assert told(desk.tick(rules)) == [("cross_up", "extended")]
    desk.now = opened + 200
    assert told(desk.tick(rules)) == [("cross_up", "regular")]


# --- by hand, over rounds


def test_the_end_of_a_mute_is_told_once_all_of_its_rule_is_judged(desk: Desk, hooks: Hooks) -> None:
    """What was touched in it may be found in the last round."""
    listed, one = many(kind="cross_up", level=9.0, symbols=["X:A", "X:B"]), hooks.target("ONE")
    desk.prices = dict.fromkeys(listed.symbols, 8.0)
    desk.tick([listed], [one])
    desk.store.mute("r", "", 600, desk.now)
    begins = desk.now // 60 * 60
    for minute in range(11):
        desk.past["X:B"][begins + minute * 60] = 10.0 if minute == 5 else 8.0
    desk.now += 720
    desk.rounds = [["X:A"]]
    report = desk.tick([listed], [one])
    assert [(each.kind, each.symbol, each.is_muted) for each in report.found] == [
        ("cross_up", "X:B", True),
        ("unmuted", "", False),
    ]
    assert hooks.posted[-1][1]["text"] == "rule r, muted by hand, is told again; 1 of its alerts were kept back"
    assert desk.tick([listed], [one]).found == ()


def test_nobody_is_reminded_of_what_is_over_in_a_later_round(desk: Desk, hooks: Hooks) -> None:
    desk.prices = {"X:A": 10.0, "X:B": 10.0}
    rules = [rule(name=name.lower(), symbol=f"X:{name}", **REMINDING) for name in "AB"]
    one = hooks.target("ONE")
    desk.tick(rules, [one])
    desk.now += HOUR_S
    desk.past["X:B"] = {desk.now // 60 * 60 - minute * 60: 8.0 for minute in range(2, 8)}
    desk.prices["X:B"] = 8.0
    desk.rounds = [["X:A"]]
    report = desk.tick(rules, [one])
    assert told(report) == [("reminder", "a"), ("resolved", "b")]
    assert desk.tick(rules, [one]).found == ()
