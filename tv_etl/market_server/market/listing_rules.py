"""Thousands of instruments that follow from their symbols, without a table of them.

The first few hundred or thousand tickers of an exchange are listed; ticker and number determine each other, and what
the instrument is like comes from a hash of its symbol. Contracts of futures and options are what their symbols say.
"""

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from hashlib import blake2b

from tv_etl.market_server.market import futures, options, venues
from tv_etl.market_server.market.instruments import coin, us_stock
from tv_etl.market_server.market.listing import Listing

_US_COUNTS = {"NASDAQ": 3_000, "NYSE": 2_000}
_COIN_COUNT = 600
_TOKYO_COUNT = 600
_FIRST_TOKYO = 3_000  # Tokyo numbers its companies
_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ"
_STRIDE = 7_001  # from one ticker to the next
_INVERSE = int(pow(_STRIDE, -1, len(_LETTERS) ** 3))
_LETTER_OF = {"NASDAQ": "Q", "NYSE": "J"}  # with which the made-up tickers begin

_SYLLABLES = ("Al", "Be", "Cor", "Da", "El", "Fin", "Gra", "Hel", "In", "Jo", "Kin", "Lu", "Mar", "No", "Or", "Pa")
_BUSINESSES = (
    "Robotics", "Bancorp", "Therapeutics", "Energy", "Foods", "Semiconductors", "Realty", "Software", "Mining",
    "Logistics", "Media", "Insurance", "Materials", "Networks", "Motors", "Utilities",
)  # fmt: skip


def rule_symbols() -> Iterator[str]:
    """Every symbol that the rules list, always in the same order."""
    for exchange, count in _US_COUNTS.items():
        yield from (f"{exchange}:{_LETTER_OF[exchange]}{_code(number)}" for number in range(count))
    yield from (f"TSE:{_FIRST_TOKYO + number}" for number in range(_TOKYO_COUNT))
    yield from (f"KUCOIN:X{_code(number)}USDT" for number in range(_COIN_COUNT))
    yield from futures.contract_symbols()
    yield from options.option_symbols()


@lru_cache(maxsize=16_384)
def rule_listing(symbol: str) -> Listing | None:
    """The instrument that a symbol stands for by rule, None if none does."""
    exchange, _, ticker = symbol.partition(":")
    if exchange in _US_COUNTS and ticker[:1] == _LETTER_OF[exchange] and _number(ticker[1:]) < _US_COUNTS[exchange]:
        return _us_stock(symbol)
    if exchange == "TSE" and ticker.isascii() and ticker.isdigit() and len(ticker) == 4:
        return _tokyo_stock(symbol) if 0 <= int(ticker) - _FIRST_TOKYO < _TOKYO_COUNT else None
    if exchange == "KUCOIN" and ticker[:1] == "X" and ticker[4:] == "USDT" and _number(ticker[1:4]) < _COIN_COUNT:
        return _coin(symbol)
    return futures.contract(symbol) or options.option(symbol)


def _us_stock(symbol: str) -> Listing:
    dice = Dice(symbol)
    price, volume = dice.between(2.0, 600.0), dice.between(20_000, 20_000_000)
    first_day = date(1999 + int(dice.between(1, 24)), 1, 3)  # few, so that calendars are shared
    return us_stock(
        symbol, f"{dice.name()} Inc.", round(price, 2), int(volume), dice.between(0.008, 0.04), first_day=first_day
    )


def _tokyo_stock(symbol: str) -> Listing:
    dice = Dice(symbol)
    price, volume = dice.between(300.0, 12_000.0), dice.between(20_000, 9_000_000)
    return Listing(
        symbol, f"{dice.name()} Co., Ltd.", "stock", ("common",), "JPY", venues.SOURCES["TSE"], venues.JAPAN,
        round(price), dice.between(0.008, 0.03), pricescale=1, daily_volume=int(volume), yearly_growth=0.04,
        language="ja", delay_s=1_200,
    )  # fmt: skip


def _coin(symbol: str) -> Listing:
    dice, base = Dice(symbol), symbol.partition(":")[2][:-4]
    price, volume = dice.between(0.01, 90.0), dice.between(50_000, 90_000_000)
    return coin(symbol, f"{dice.name()} / TetherUS", round(price, 4), 10_000, volume, base, "USDT")


def _code(number: int) -> str:
    """Three letters for a number; as the tickers of a real exchange, neighbours need not look alike."""
    base = len(_LETTERS)
    return "".join(_LETTERS[number * _STRIDE // base**place % base] for place in (2, 1, 0))


def _number(code: str) -> int:
    """The number of a code of three letters; for any other text, one that no code has."""
    base = len(_LETTERS)
    if len(code) != 3 or any(letter not in _LETTERS for letter in code):
        return base * base * base
    value: int = sum(
        _LETTERS.index(letter) * weight for letter, weight in zip(code, (base * base, base, 1), strict=True)
    )
    return value * _INVERSE % (base * base * base)


class Dice:
    """Numbers that a symbol determines."""

    def __init__(self, symbol: str) -> None:
        self._bits = int.from_bytes(blake2b(symbol.encode(), digest_size=32).digest(), "little")

    def between(self, least: float, most: float) -> float:
        """A number spread evenly over the orders of magnitude from `least` to `most`."""
        self._bits, share = divmod(self._bits, 65_536)
        return float(least * (most / least) ** (share / 65_536))

    def name(self) -> str:
        """A company's name."""
        picks = []
        for words in (_SYLLABLES, _SYLLABLES, _BUSINESSES):
            self._bits, pick = divmod(self._bits, len(words))
            picks.append(words[pick])
        return f"{picks[0]}{picks[1].lower()} {picks[2]}"
