"""Bars of other intervals: from the lake where it has them, else from the server; their trouble is theirs alone."""

from collections.abc import Sequence
from typing import Any

import pytest

from tv_etl.alerts.inputs import AlertInputs, Quote
from tv_etl.alerts.passes import Minutes
from tv_etl.alerts.rules import AlertRule, read_rule
from tv_etl.alerts.state import AlertState, Registered, RuleState, SymbolState
from tv_etl.alerts.wider_bars import WiderBars
from tv_etl.tradingview.errors import NoBarsError
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory, SymbolInfo
from tv_etl.tradingview.trading_hours import TradingHours

pytestmark = pytest.mark.pure

HOUR = 3_600
NIGHT = 1_790_035_200  # a midnight, UTC
NOW = NIGHT + 10 * HOUR + 90
CRYPTO = TradingHours("24x7", "Etc/UTC").to_json()
SEEN = RuleState(0, NIGHT, seen=NIGHT + 8 * HOUR)


def rule(**fields: Any) -> AlertRule:
    return read_rule(
        {"name": "r", "symbol": "X:A", "kind": "cross_up", "level": 10, "on": "close", "interval": "1h"} | fields
    )


def rows(until: int) -> list[list[float | None]]:
    return [[NIGHT + HOUR * number, 9.0, 9.0, 9.0, 9.0, 1.0] for number in range(until)]


class Lake:
    """A lake that holds the bars of so many hours, and notes what it was asked for."""

    def __init__(self, hours: int = 0, error: Exception | None = None) -> None:
        self.hours, self.error = hours, error
        self.asked: list[tuple[str, str]] = []

    def __call__(self, symbol: str, interval: str, count: int) -> Sequence[Sequence[float | None]]:
        self.asked.append((symbol, interval))
        if self.error is not None:
            raise self.error
        return rows(self.hours)[-count:]


def wider(lake: Lake | None, *rules: AlertRule, state: RuleState | None = SEEN) -> WiderBars:
    mine = [Registered(each, number) for number, each in enumerate(rules or (rule(),))]
    armings = {} if state is None else {each.key: state for each in mine}
    return WiderBars({"X:A": mine}, AlertState(armings, {"X:A": SymbolState(hours=CRYPTO)}), lake)


def quotes(traded_at: float = NOW) -> dict[str, Quote]:
    return {"X:A": QuoteSymbolData.from_fields("X:A", {"lp": 9.0, "lp_time": traded_at, "update_mode": "streaming"})}


def answer(until: int, forming_from: int | None = None, asked: tuple[int, int] | None = None) -> SeriesHistory:
    info = SymbolInfo({"session": "24x7", "timezone": "Etc/UTC"})
    request = HistoryRequest("X:A", "1h", bars_count=9)
    return SeriesHistory(request, info, rows(until), "complete", forming_from, "streaming", 1, NOW, asked)  # type: ignore[arg-type]


def test_what_the_lake_has_is_not_asked_for() -> None:
    bars = wider(Lake(10))
    assert bars.requests(quotes(), NOW) == {}
    assert len(bars.closed["X:A"]["1h"].final) > 1


@pytest.mark.parametrize("hours", [0, 3, 9])
def test_what_the_lake_lacks_is_asked_for(hours: int) -> None:
    bars = wider(Lake(hours))
    [(key, request)] = bars.requests(quotes(), NOW).items()
    assert (key, request.interval, bars.closed) == (("X:A", "1h"), "1h", {})


def test_where_no_bar_can_have_closed_nobody_is_asked() -> None:
    lake = Lake(10)
    assert wider(lake, state=SEEN._replace(seen=NIGHT + 9 * HOUR)).requests(quotes(), NOW) == {}
    assert wider(lake).requests(quotes(NIGHT + 8 * HOUR + 5), NOW) == {}
    assert lake.asked == []


def test_a_bar_that_forms_is_not_in_the_lake() -> None:
    lake = Lake(10)
    volume = read_rule({"name": "v", "symbol": "X:A", "kind": "bar_volume", "volume": 5, "interval": "1h"})
    assert set(wider(lake, volume).requests(quotes(), NOW)) == {("X:A", "1h")}
    assert lake.asked == []


def test_a_lake_that_cannot_be_read_is_told_and_the_server_asked() -> None:
    bars = wider(Lake(error=OSError("no such disk")))
    assert set(bars.requests(quotes(), NOW)) == {("X:A", "1h")}
    assert bars.problems == ["X:A 1h: its bars in the lake: no such disk"]


def test_a_rule_that_breaks_takes_no_other_with_it() -> None:
    broken = rule(name="broken").model_copy(update={"interval": "no interval"})
    assert set(wider(None, broken, rule()).requests(quotes(), NOW)) == {("X:A", "1h")}


def take(bars: WiderBars, *answers: Minutes) -> None:
    for each in answers:
        bars.take(AlertInputs(NOW, quotes(), series={("X:A", "1h"): each}))


def test_what_the_server_gives_is_sorted_by_what_is_final() -> None:
    bars = wider(None)
    take(bars, answer(11, forming_from=NIGHT + 10 * HOUR))
    found = bars.closed["X:A"]["1h"]
    assert ([len(found.final), len(found.young)], bars.problems) == ([10, 1], [])
    assert bars.hours == {"X:A": CRYPTO}


def test_a_bar_that_has_only_just_closed_may_still_change() -> None:
    bars = wider(None)
    bars.take(AlertInputs(NIGHT + 10 * HOUR + 59, quotes(), series={("X:A", "1h"): answer(10)}))
    assert len(bars.closed["X:A"]["1h"].final) == 9


def test_what_was_asked_for_and_is_not_there_is_known_not_to_be() -> None:
    bars = wider(None)
    take(bars, answer(3, asked=(NIGHT, NIGHT + 9 * HOUR + 1)))
    assert bars.closed["X:A"]["1h"].known_until == NIGHT + 9 * HOUR


def test_an_answer_that_failed_is_a_problem_and_its_rules_wait() -> None:
    bars = wider(None)
    take(bars, NoBarsError("X:A 1h: no answer in time"))
    assert (bars.closed, bars.problems) == ({}, ["X:A 1h: no answer in time"])


def test_prices_that_a_split_would_move_need_their_minutes_too() -> None:
    bars = wider(None)
    assert not bars.needs_overlap("X:A")
    bars.requests(quotes(), NOW)
    assert bars.needs_overlap("X:A")
    volume = read_rule({"name": "v", "symbol": "X:A", "kind": "bar_volume", "volume": 5, "interval": "1h"})
    by_volume = wider(None, volume)
    by_volume.requests(quotes(), NOW)
    assert not by_volume.needs_overlap("X:A")
