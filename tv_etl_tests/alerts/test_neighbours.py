"""Every fault of the market server beside thirty good rules: these tell what they tell without it, and as soon."""

from contextlib import aclosing
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tv_etl.alerts.inputs import AlertInputs, Ask, gather
from tv_etl.alerts.passes import STILL_S
from tv_etl.alerts.rules import CrossRule
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.tick import run_tick
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listing_rules import rule_symbols
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.market_server.testing import MarketOptions, RunningMarket, running_market
from tv_etl.orchestration.resources import TradingViewResource
from tv_etl.tradingview.models import QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl_tests import own_clock
from tv_etl_tests.conftest import NOW

GOOD = tuple(islice(rule_symbols(), 30))
MARKET = Market(7)
SINCE = int(NOW.timestamp()) // 60 * 60 - 180
SOON_S = 1.0
TICKS = 5


class Told(NamedTuple):
    """One alert of a good rule, and the tick that found it."""

    tick: int
    symbol: str
    kind: str
    price: float | None
    touched_at: int | None


def levels_near(market: RunningMarket) -> dict[str, float]:
    """Levels that the next minutes are likely to cross, some of them again and again."""
    rounds = TradingViewResource(ws_url=market.url).alert_inputs(dict.fromkeys(GOOD, Ask()), lambda *_: set())
    quotes = AlertInputs.joined(rounds).quotes
    prices = {name: each.current_price for name, each in quotes.items() if isinstance(each, QuoteSymbolData)}
    return {name: price * 1.0002 for name, price in prices.items() if price is not None}


def told_beside(fault: str = "") -> list[Told]:
    """What five ticks, a minute apart, tell of the good rules where this one's symbol stands in their midst."""
    with running_market(MarketOptions(now=NOW, seed=7)) as market, TemporaryDirectory() as directory:
        levels = list(levels_near(market).items())
        if fault:
            levels.insert(len(levels) // 2, (fault, 100.0))
        rules = [
            CrossRule(name=f"r{number}", symbol=symbol, kind="cross", level=level, cooldown_s=0.0)
            for number, (symbol, level) in enumerate(levels)
        ]
        names = {rule.name: rule.symbol for rule in rules}
        store, gather = (
            AlertStore(Path(directory) / "alerts.sqlite"),
            TradingViewResource(ws_url=market.url).alert_inputs,
        )
        told: list[Told] = []
        for tick in range(TICKS):
            report = run_tick(rules, store, [], gather, lambda: market.now.timestamp())
            assert not report.blind
            told += [
                Told(tick, alert.symbol, alert.kind, alert.price, alert.touched_at)
                for alert in report.found
                if names.get(alert.rule, fault) != fault
            ]
            market.advance(60)
        return sorted(told)


@cache
def told_alone() -> list[Told]:
    return told_beside()


@pytest.mark.slow
def test_the_good_rules_tell_something_in_several_ticks() -> None:
    assert len(told_alone()) > 20
    assert len({each.tick for each in told_alone()}) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_beside_good_rules_changes_nothing_of_them(fault: str) -> None:
    assert told_beside(fault) == told_alone()


# --- how soon


def wait_beside(fault: str, standing: Ask) -> float:
    """How long the slowest of the good symbols, which have answered before, is waited for, by a clock of its own."""

    async def main() -> float:
        left, asks = set(GOOD), dict.fromkeys(GOOD, Ask(SINCE))
        asks = {**dict(islice(asks.items(), 15)), fault: standing, **asks}
        clock = MarketClock(NOW.timestamp(), speed=0)
        async with MarketServer(MARKET, ServerOptions(clock=clock)) as server:
            began = own_clock.now()
            async with aclosing(gather(lambda limits: OHLCV(server.url, limits=limits), asks)) as rounds:
                async for inputs in rounds:
                    for name in set(inputs.symbols) - {fault}:
                        assert isinstance(inputs.quotes[name], QuoteSymbolData)
                        assert isinstance(inputs.minutes[name], SeriesHistory)
                        left.remove(name)  # each comes once
                    if not left:
                        return own_clock.now() - began
        raise AssertionError(f"{left} did not come")

    return own_clock.run(main())


@pytest.mark.parametrize("fault", FAULTS)
def test_who_has_answered_is_handed_over_while_a_fault_is_awaited(fault: str) -> None:
    """Beside FAULT:HALF_OPEN they waited for twelve seconds in the first tick, and for four in each from then on."""
    assert wait_beside(fault, Ask()) < SOON_S
    assert wait_beside(fault, Ask(quote_fault="late", minutes_failed=True)) < SOON_S
    # Among those that have always answered it is found once the connection has stood still for long enough.
    assert wait_beside(fault, Ask(SINCE)) < STILL_S + SOON_S
