"""The columns of the screener: what each says of a listing, worked out when a scan asks for it.

Prices, volumes and what follows from them are those of the listing's bars. Shares, earnings and the like, which bars do
not tell, follow from the symbol. A column that TradingView has and this market knows nothing of is null.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tv_etl.market_server.market.listing_rules import Dice
from tv_etl.market_server.market.listings import Listing, update_mode
from tv_etl.market_server.sessions.world import World

_STOCK_MARKETS = {
    "US": "america", "KR": "korea", "IN": "india", "DE": "germany", "GB": "uk", "FR": "france", "BR": "brazil",
    "JP": "japan", "HK": "hongkong", "CN": "china", "TH": "thailand",
}  # fmt: skip
_KIND_MARKETS = {
    "spot": "crypto", "swap": "crypto", "forex": "forex", "futures": "futures", "index": "cfd", "commodity": "cfd",
    "economic": "economics2", "option": "options",
}  # fmt: skip
MARKETS = frozenset({*_STOCK_MARKETS.values(), *_KIND_MARKETS.values()})

_SECTORS = (
    "Electronic Technology", "Finance", "Health Technology", "Energy Minerals", "Consumer Non-Durables",
    "Technology Services", "Producer Manufacturing", "Retail Trade", "Utilities", "Transportation",
)  # fmt: skip


def market_of(listing: Listing) -> str:
    """The screener's name for the part of the market that a listing belongs to."""
    if listing.kind in ("stock", "fund"):
        return _STOCK_MARKETS[listing.source.country]
    return _KIND_MARKETS[listing.kind]


class Figures:
    """The values of some listings, by column; each is worked out once."""

    def __init__(self, world: World, listings: Sequence[Listing]) -> None:
        self.listings = listings
        self._market = world.market
        self._now = world.clock.now()
        self._values: dict[str, dict[int, Any]] = {}
        self._days: dict[tuple[int, ...], dict[int, Any]] = {}

    def column(self, name: str, places: Sequence[int]) -> list[Any]:
        """The values of a column for the listings at some places."""
        known = self._values.setdefault(name, {})
        missing = [place for place in places if place not in known]
        if missing:
            known.update(zip(missing, self._worked_out(name, missing), strict=True))
        return [known[place] for place in places]

    def _worked_out(self, name: str, places: Sequence[int]) -> Sequence[Any]:
        if name in _DESCRIPTIONS:
            return [_DESCRIPTIONS[name](self.listings[place]) for place in places]
        if name in _DAY_FIGURES:
            days = self._bars(places, (1, 0))
            return [_DAY_FIGURES[name](self.listings[place], *days[place]) for place in places]
        if name in _RETURNS:
            bars = self._bars(places, (_RETURNS[name], 0))
            return [_known(100 * (bars[place][1][4] / bars[place][0][4] - 1), 8) for place in places]
        if name in _VOLUME_DAYS:
            bars = self._bars(places, tuple(range(_VOLUME_DAYS[name], -1, -1)))
            averages = [float(np.mean([bar[5] for bar in bars[place][:-1]])) for place in places]
            if name.startswith("average"):
                return [_known(average, 2) for average in averages]
            volumes = [bars[place][-1][5] for place in places]
            return [
                _known(volume / average if average else math.nan, 8)
                for volume, average in zip(volumes, averages, strict=True)
            ]
        if name in _FUNDAMENTALS:
            closes = self.column("close", places)
            pairs = zip(places, closes, strict=True)
            return [_fundamental(name, self.listings[place], close) for place, close in pairs]
        return [None] * len(places)

    def _bars(self, places: Sequence[int], back: tuple[int, ...]) -> Mapping[int, Any]:
        known = self._days.setdefault(back, {})
        missing = [place for place in places if place not in known]
        if missing:
            rows = self._market.newest_days([self.listings[place] for place in missing], self._now, back)
            known.update(zip(missing, rows.tolist(), strict=True))
        return known


class Row(Mapping[str, Any]):
    """One listing's values by column."""

    def __init__(self, figures: Figures, place: int) -> None:
        self._figures = figures
        self._place = place

    def __getitem__(self, name: str) -> Any:
        return self._figures.column(name, (self._place,))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)


def _known(value: float | None, digits: int | None = None) -> float | None:
    if value is None or math.isnan(value):
        return None
    return value if digits is None else round(value, digits)


def _change(listing: Listing, before: Sequence[float], last: Sequence[float]) -> float:
    previous = last[1] if math.isnan(before[4]) else before[4]
    return round(last[4] - previous, listing.decimals) if previous == previous else math.nan


def _change_percent(listing: Listing, before: Sequence[float], last: Sequence[float]) -> float | None:
    previous = last[1] if math.isnan(before[4]) else before[4]
    return _known(100 * _change(listing, before, last) / previous, 2)


_DESCRIPTIONS: dict[str, Callable[[Listing], Any]] = {
    "name": lambda listing: listing.ticker,
    "description": lambda listing: listing.description,
    "type": lambda listing: listing.kind,
    "typespecs": lambda listing: list(listing.typespecs),
    "exchange": lambda listing: listing.exchange,
    "currency": lambda listing: listing.currency,
    "fundamental_currency_code": lambda listing: listing.currency,
    "country": lambda listing: listing.source.country or None,
    "market": market_of,
    "is_primary": lambda listing: True,
    "active_symbol": lambda listing: "discontinued" not in listing.typespecs,
    "pricescale": lambda listing: listing.pricescale,
    "minmov": lambda listing: listing.minmov,
    "minmove2": lambda listing: listing.minmove2,
    "fractional": lambda listing: str(listing.is_fractional).lower(),
    "update_mode": lambda listing: update_mode(listing.delay_s),
    "logoid": lambda listing: listing.ticker.lower(),
    "sector": lambda listing: _sector(listing),
    "sector.tr": lambda listing: _sector(listing),
}

_DAY_FIGURES: dict[str, Callable[[Listing, Sequence[float], Sequence[float]], Any]] = {
    "open": lambda listing, before, last: _known(last[1]),
    "high": lambda listing, before, last: _known(last[2]),
    "low": lambda listing, before, last: _known(last[3]),
    "close": lambda listing, before, last: _known(last[4]),
    "volume": lambda listing, before, last: _known(last[5]),
    "change": _change_percent,
    "change_abs": lambda listing, before, last: _known(_change(listing, before, last)),
    "change_from_open": lambda listing, before, last: _known(100 * (last[4] / last[1] - 1), 8),
    "gap": lambda listing, before, last: _known(100 * (last[1] / before[4] - 1), 8),
    "Value.Traded": lambda listing, before, last: _known(last[4] * last[5], 2),
}

# Over how many trading days.
_RETURNS = {"Perf.W": 5, "Perf.1M": 21, "Perf.3M": 63, "Perf.6M": 126, "Perf.Y": 252, "Perf.5Y": 1_260,
            "Perf.10Y": 2_520}  # fmt: skip
_VOLUME_DAYS = {"relative_volume_10d_calc": 10, "average_volume_10d_calc": 10, "average_volume_30d_calc": 30}

_FUNDAMENTALS = frozenset({
    "market_cap_basic", "price_earnings_ttm", "earnings_per_share_diluted_ttm", "dividends_yield_current",
    "dividends_yield", "recommendation_mark", "AnalystRating",
})  # fmt: skip

# Columns of TradingView's own screener pages and of public clients that nothing here can tell.
_UNREPORTED = frozenset({
    "Perf.YTD", "Perf.All", "Perf.1Y.MarketCap", "Volatility.W", "Volatility.M", "Volatility.D",
    "price_earnings_growth_ttm", "price_sales_current", "price_book_fq", "price_to_cash_f_operating_activities_ttm",
    "price_free_cash_flow_ttm", "price_to_cash_ratio", "enterprise_value_current", "enterprise_value_to_revenue_ttm",
    "enterprise_value_to_ebit_ttm", "enterprise_value_ebitda_ttm", "earnings_per_share_diluted_yoy_growth_ttm",
    "dps_common_stock_prim_issue_fy", "dps_common_stock_prim_issue_fq", "dividend_payout_ratio_ttm",
    "dps_common_stock_prim_issue_yoy_growth_fy", "continuous_dividend_payout", "continuous_dividend_growth",
    "gross_margin_ttm", "operating_margin_ttm", "pre_tax_margin_ttm", "net_margin_ttm", "free_cash_flow_margin_ttm",
    "return_on_assets_fq", "return_on_equity_fq", "return_on_invested_capital_fq", "research_and_dev_ratio_ttm",
    "sell_gen_admin_exp_other_ratio_ttm", "total_revenue_ttm", "total_revenue_yoy_growth_ttm", "gross_profit_ttm",
    "oper_income_ttm", "net_income_ttm", "ebitda_ttm", "total_assets_fq", "total_current_assets_fq",
    "cash_n_short_term_invest_fq", "total_liabilities_fq", "total_debt_fq", "net_debt_fq", "total_equity_fq",
    "current_ratio_fq", "quick_ratio_fq", "debt_to_equity_fq", "cash_n_short_term_invest_to_total_debt_fq",
    "cash_f_operating_activities_ttm", "cash_f_investing_activities_ttm", "cash_f_financing_activities_ttm",
    "free_cash_flow_ttm", "capital_expenditures_ttm", "Recommend.All", "Recommend.MA", "Recommend.Other", "RSI",
    "Mom", "AO", "CCI20", "Stoch.K", "Stoch.D", "MACD.macd", "MACD.signal", "industry", "industry.tr", "aum",
    "fund_flows.1M", "expense_ratio", "asset_class.tr", "focus.tr", "nav_total_return.5Y", "AnalystRating.tr",
    "TechRating_1D", "TechRating_1D.tr",
})  # fmt: skip

COLUMNS = frozenset({*_DESCRIPTIONS, *_DAY_FIGURES, *_RETURNS, *_VOLUME_DAYS, *_FUNDAMENTALS, *_UNREPORTED})
REPORTED = COLUMNS - _UNREPORTED


def _sector(listing: Listing) -> str | None:
    if listing.kind != "stock":
        return "Miscellaneous" if listing.kind == "fund" else None
    return _SECTORS[int(Dice(f"{listing.symbol} sector").between(1, len(_SECTORS) + 1)) - 1]


def _fundamental(name: str, listing: Listing, close: float | None) -> float | str | None:
    """What the books of a company would say; null for everything else."""
    if listing.kind != "stock" or close is None or listing.daily_volume is None:
        return None
    dice = Dice(f"{listing.symbol} books")
    shares = round(listing.daily_volume * dice.between(60, 400))
    earnings = listing.price / dice.between(6, 60)
    mark, paid = round(dice.between(1, 3), 4), dice.between(0.1, 6)
    if name == "market_cap_basic":
        return round(close * shares, 2)
    if name == "earnings_per_share_diluted_ttm":
        return round(earnings, 4)
    if name == "price_earnings_ttm":
        return round(close / earnings, 8)
    if name == "recommendation_mark":
        return mark
    if name == "AnalystRating":
        return "StrongBuy" if mark < 1.25 else "Buy" if mark < 1.75 else "Neutral" if mark < 2.25 else "Sell"
    yearly = 4 * listing.dividends[-1][1] if listing.dividends else listing.price * paid / 100
    return round(100 * yearly / close, 4) if listing.dividends or paid > 0.6 else 0.0
