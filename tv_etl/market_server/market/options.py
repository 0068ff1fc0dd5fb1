"""Options of the synthetic market: `OPRA:AAPL261218C300.0`, a call at 300 that ends on 2026-12-18.

The symbol says everything. What an option costs follows roughly from its underlying's level in late 2026; its prices
then move on their own.
"""

import math
import re
from collections.abc import Iterator
from datetime import date, timedelta
from types import MappingProxyType

from tv_etl.market_server.market import venues
from tv_etl.market_server.market.listing import Listing, Source

# By the root of their symbols: what the options are on, its price, the step between two strikes that are listed.
UNDERLYINGS = MappingProxyType(
    {"AAPL": ("NASDAQ:AAPL", 310.0, 10.0), "NVDA": ("NASDAQ:NVDA", 190.0, 5.0), "SPY": ("AMEX:SPY", 690.0, 10.0)}
)
_LISTED_ENDS = (date(2026, 12, 18), date(2027, 1, 15))
_LISTED_STRIKES = range(-2, 3)
_TRADED_DAYS = 270
_TICKER = re.compile(r"([A-Z]{1,6})([0-9]{6})([CP])([0-9]{1,5}\.[0-9]{1,3})")


def option_symbols() -> Iterator[str]:
    """The options that a screener finds: some strikes around each underlying's price."""
    for root, (_, price, step) in UNDERLYINGS.items():
        for end in _LISTED_ENDS:
            for steps in _LISTED_STRIKES:
                strike = round(price / step) * step + steps * step
                yield from (f"OPRA:{root}{end:%y%m%d}{side}{strike}" for side in "CP")


def option(symbol: str) -> Listing | None:
    """The option that a symbol stands for, None if it stands for none."""
    exchange, _, ticker = symbol.partition(":")
    match = _TICKER.fullmatch(ticker) if exchange == "OPRA" else None
    if match is None or match[1] not in UNDERLYINGS or str(float(match[4])) != match[4]:
        return None
    root, digits, strike = match[1], match[2], float(match[4])
    try:
        end = date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return None
    underlying, spot, _ = UNDERLYINGS[root]
    side = "call" if match[3] == "C" else "put"
    extras = {
        "root": root,
        "underlying-symbol": underlying,
        "strike": strike,
        "expiration": int(f"{end:%Y%m%d}"),
        "option-type": side,
        "option-style": "american",
        "lotsize": 100,
    }
    return Listing(
        symbol,
        f"{root} {end:%b %d, %Y} {strike:g} {side}",
        "option",
        (),
        "USD",
        Source("OPRA", "OPRA", "US", "https://www.opraplan.com", "opra"),
        venues.US_EQUITY,
        _price(spot, strike, is_call=side == "call"),
        0.08,
        pointvalue=100.0,
        daily_volume=12_000,
        swing_octaves=6,
        first_day=end - timedelta(days=_TRADED_DAYS),
        last_day=end,
        extras=MappingProxyType(extras),
    )


def _price(spot: float, strike: float, *, is_call: bool) -> float:
    worth = max(spot - strike if is_call else strike - spot, 0.0)
    hope = 0.03 * spot * math.exp(-abs(spot - strike) / (0.08 * spot))
    return max(round(worth + hope, 2), 0.05)
