from datetime import date

import numpy as np
import pytest

from tv_etl.market_server.market.futures import FUTURES, contract, contract_symbols
from tv_etl.market_server.market.listing import symbol_info
from tv_etl_tests.market_server.seeded_market import bars


@pytest.mark.parametrize(
    ("symbol", "last_day"),
    [
        ("CME_MINI:ESZ2026", date(2026, 12, 18)),
        ("CME_MINI:ESM2026", date(2026, 6, 18)),  # the third Friday is a holiday
        ("NYMEX:CLF2027", date(2026, 12, 21)),  # the 25th is a holiday
        ("NYMEX:CLZ2026", date(2026, 11, 20)),
        ("NYMEX:NGF2027", date(2026, 12, 29)),
        ("COMEX:GCG2027", date(2027, 2, 24)),
        ("CBOT:ZNZ2026", date(2026, 12, 21)),
        ("CBOT:ZCH2027", date(2027, 3, 12)),
        ("CME:6EZ2026", date(2026, 12, 14)),
    ],
)
def test_a_contract_ends_when_its_exchange_says(symbol: str, last_day: date) -> None:
    listing = contract(symbol)
    assert listing is not None
    assert (listing.last_day, symbol_info(listing)["expiration"]) == (last_day, int(f"{last_day:%Y%m%d}"))
    assert symbol_info(listing)["is_tradable"] is True


def test_the_contract_that_ends_next_has_the_prices_of_the_continuous_one() -> None:
    assert np.array_equal(bars("CME_MINI:ESZ2026", "1", 500), bars("CME_MINI:ES1!", "1", 500))
    later = bars("CME_MINI:ESH2027", "1D", 20)
    assert (later[:, 4] > bars("CME_MINI:ES1!", "1D", 20)[:, 4]).all()


def test_a_contract_is_traded_up_to_its_last_day() -> None:
    days = bars("CME_MINI:ESZ2026", "1D", 5, now=1_803_900_000)  # in March 2027
    assert np.array_equal(days[-1, 0], np.datetime64("2026-12-17T23:00", "s").astype(float))


def test_contracts_are_listed_until_they_end() -> None:
    listed = list(contract_symbols())
    assert {"CME_MINI:ESZ2026", "CME_MINI:ESH2027", "NYMEX:CLF2027"} <= set(listed)
    assert {"CME_MINI:ESU2026", "CBOT:ZCU2026"}.isdisjoint(listed)
    assert all(contract(symbol) is not None for symbol in listed)
    assert {symbol.partition(":")[0] for symbol in listed} == {each.exchange for each in FUTURES.values()}


@pytest.mark.parametrize("symbol", sorted(FUTURES))
def test_prices_lie_on_the_tick(symbol: str) -> None:
    future, prices = FUTURES[symbol], bars(symbol, "1", 500)[:, 1:5]
    ticks = prices * future.pricescale / future.minmov
    assert np.allclose(ticks, np.rint(ticks))
