"""The columns of the screener: what each says of a listing, worked out when a scan asks for it.

Prices, volumes and what follows from them are those of the listing's bars. Shares, earnings and the like, which bars do
not tell, follow from the symbol. A column that TradingView has and this market knows nothing of is null.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tv_etl.market_server.market.listing_rules import Dice
from tv_etl.market_server.market.listings import Listing, symbol_info, update_mode
from tv_etl.market_server.market.prices import day_number
from tv_etl.market_server.market.sessions import DAY_S
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
# TradingView has them; here nothing is listed in them.
EMPTY_MARKETS = frozenset(
    [
        "argentina",
        "australia",
        "austria",
        "bahrain",
        "bangladesh",
        "belgium",
        "bond",
        "bonds",
        "canada",
        "chile",
        "coin",
        "colombia",
        "cyprus",
        "czech",
        "denmark",
        "egypt",
        "estonia",
        "euronext",
        "finland",
        "greece",
        "hungary",
        "iceland",
        "indonesia",
        "ireland",
        "israel",
        "italy",
        "kenya",
        "ksa",
        "kuwait",
        "latvia",
        "lithuania",
        "luxembourg",
        "malaysia",
        "mexico",
        "morocco",
        "netherlands",
        "newzealand",
        "nigeria",
        "norway",
        "pakistan",
        "peru",
        "philippines",
        "poland",
        "portugal",
        "qatar",
        "romania",
        "rsa",
        "russia",
        "serbia",
        "singapore",
        "slovakia",
        "spain",
        "srilanka",
        "sweden",
        "switzerland",
        "taiwan",
        "tunisia",
        "turkey",
        "uae",
        "venezuela",
        "vietnam",
    ]
)

# `RSI|60` is of another interval, `RSI[1]` of the bar before.
_OTHERWISE = re.compile(r"(?P<base>[^\[|]+)(\[[0-9]\])?(\|([0-9]{1,4}[SDWM]?|[DWM]))?")
_EARLIER = re.compile(r"(?P<base>[^\[|]+)\[(?P<days>[0-9])\]")
_QUARTER_DAYS, _RELEASED_S = 91, 20 * 3_600 + 1_800

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
    """The values of some listings, by column; each is worked out once.

    With an `age`, what follows from bars is what it was so many trading days before.
    """

    def __init__(self, world: World, listings: Sequence[Listing], age: int = 0) -> None:
        self.listings = listings
        self.now = world.clock.now()
        self._world, self._market, self._age = world, world.market, age
        self._before: Figures | None = None
        self._values: dict[str, dict[int, Any]] = {}
        self._days: dict[tuple[int, ...], dict[int, Any]] = {}

    @property
    def before(self) -> "Figures":
        """The values of the trading day before."""
        if self._before is None:
            self._before = Figures(self._world, self.listings, self._age + 1)
        return self._before

    def column(self, name: str, places: Sequence[int]) -> list[Any]:
        """The values of a column for the listings at some places."""
        known = self._values.setdefault(name, {})
        missing = [place for place in places if place not in known]
        if missing:
            known.update(zip(missing, self._worked_out(name, missing), strict=True))
        return [known[place] for place in places]

    def _worked_out(self, name: str, places: Sequence[int]) -> Sequence[Any]:
        if name not in COLUMNS and (earlier := _EARLIER.fullmatch(name)) and earlier["base"] in _DAY_FIGURES:
            return (self if earlier["days"] == "0" else self.before).column(_earlier(earlier), places)
        if name in _DATES:
            return [_DATES[name](self.listings[place], self.now) for place in places]
        if name in _YEAR_EXTREMES:
            bars = self._bars(places, tuple(range(_YEAR_DAYS - 1, -1, -1)))
            column, extreme = _YEAR_EXTREMES[name]
            return [_known(extreme(_known_values(bars[place], column), default=math.nan)) for place in places]
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
            aged = [days + self._age for days in back]
            rows = self._market.newest_days([self.listings[place] for place in missing], self.now, aged)
            known.update(zip(missing, rows.tolist(), strict=True))
        return known


class Row(Mapping[str, Any]):
    """One listing's values by column."""

    def __init__(self, figures: Figures, place: int) -> None:
        self._figures = figures
        self._place = place

    @property
    def now(self) -> float:
        """The market's time, UTC seconds."""
        return self._figures.now

    @property
    def before(self) -> "Row":
        """The row as it was on the trading day before; null where it follows from no bar."""
        return Row(self._figures.before, self._place)

    def __getitem__(self, name: str) -> Any:
        return self._figures.column(name, (self._place,))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)


def is_column(name: str) -> bool:
    """True for what a scan may ask for: of a column of bars also another interval (`RSI|60`) or an earlier bar."""
    match = _OTHERWISE.fullmatch(name)
    return match is not None and match["base"] in COLUMNS


def _earlier(name: re.Match[str]) -> str:
    """`close[1]` of the day before a `close[2]`, and `close` of one before a `close[1]`."""
    days = int(name["days"]) - 1
    return f"{name['base']}[{days}]" if days > 0 else name["base"]


def _known_values(rows: Sequence[Sequence[float]], column: int) -> list[float]:
    return [row[column] for row in rows if row[column] == row[column]]


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
    "currency_id": lambda listing: symbol_info(listing)["currency_id"],
    "exchange.tr": lambda listing: listing.source.name,
    "provider-id": lambda listing: listing.source.provider,
    "source-logoid": lambda listing: f"source/{listing.source.id}",
    "isin-displayed": lambda listing: listing.extras.get("isin"),
    "subtype": lambda listing: next(iter(listing.typespecs), None),
    "centralization": lambda listing: "cex" if market_of(listing) == "crypto" else None,
    "root": lambda listing: listing.extras.get("root"),
    "expiration": lambda listing: listing.extras.get("expiration"),
    "strike": lambda listing: listing.extras.get("strike"),
    "option-type": lambda listing: listing.extras.get("option-type"),
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

# When something happens to a company, UTC seconds.
_DATES: dict[str, Callable[[Listing, float], int | None]] = {
    "dividend_ex_date_recent": lambda listing, now: _ex_date(listing, now, is_to_come=False),
    "dividend_ex_date_upcoming": lambda listing, now: _ex_date(listing, now, is_to_come=True),
    "earnings_release_date": lambda listing, now: _release(listing, now, 0),
    "earnings_release_next_date": lambda listing, now: _release(listing, now, 1),
}

# Of which column of a year's days, and whether the most or the least.
_YEAR_EXTREMES: dict[str, tuple[int, Callable[..., float]]] = {
    "price_52_week_high": (2, max), "price_52_week_low": (3, min),
}  # fmt: skip
_YEAR_DAYS = 252

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
    "TechRating_1D", "TechRating_1D.tr", "ticker-view", "ATR", "ADX", "ADX+DI", "ADX-DI", "BB.lower", "BB.upper",
    "BBPower", "HullMA9", "Ichimoku.BLine", "P.SAR", "Stoch.RSI.K", "UO", "VWAP", "VWMA", "W.R", "Rec.BBPower",
    "Rec.HullMA9", "Rec.Ichimoku", "Rec.Stoch.RSI", "Rec.UO", "Rec.VWMA", "Rec.WR",
    *(f"{mean}{days}" for mean in ("EMA", "SMA") for days in (5, 10, 20, 30, 50, 100, 200)),
    *(f"Pivot.M.{kind}.{level}" for kind in ("Camarilla", "Classic", "Fibonacci", "Woodie")
      for level in ("S3", "S2", "S1", "Middle", "R1", "R2", "R3")),
    *(f"Pivot.M.Demark.{level}" for level in ("S1", "Middle", "R1")),
    "24h_close_change", "24h_vol", "24h_vol_change", "24h_vol_cmc", "24h_vol_to_market_cap", "market_cap_calc",
    "market_cap_diluted_calc", "circulating_supply", "crypto_total_rank", "crypto_common_categories.tr",
    "socialdominance", "blockchain-id", "blockchain-id.tr", "dex_total_liquidity", "dex_trading_volume_24h",
    "dex_txs_count_24h", "dex_txs_count_uniq_24h", "fully_diluted_value", "bond_fitch_rating_lt.tr",
    "bond_issuer_type.tr", "bond_snp_rating_lt", "bond_snp_rating_lt.tr", "close_net", "close_pct", "current_coupon",
    "maturity_date", "redemption_type.tr", "yield_to_worst", "ask", "bid", "ask_iv", "bid_iv", "iv", "delta", "gamma",
    "rho", "theta", "vega", "theoPrice", "EBITDA", "beta_1_year", "book_value_per_share_fq", "dividends_per_share_fq",
    "earnings_per_share_basic_ttm", "employees", "gross_margin_percent_ttm", "net_income_fy", "net_margin_percent_ttm",
    "price_sales_ttm", "return_on_investment_ttm", "revenue_per_share_ttm", "shares_diluted", "shares_float",
    "shares_outstanding", "total_revenue", "open_interest",
})  # fmt: skip

COLUMNS = frozenset(
    {*_DESCRIPTIONS, *_DATES, *_YEAR_EXTREMES, *_DAY_FIGURES, *_RETURNS, *_VOLUME_DAYS, *_FUNDAMENTALS, *_UNREPORTED}
)
REPORTED = COLUMNS - _UNREPORTED


def _ex_date(listing: Listing, now: float, *, is_to_come: bool) -> int | None:
    """The nearest ex-date of a dividend, before now or after it."""
    days = [day_number(day) * DAY_S for day, _ in listing.dividends]
    found = [day for day in days if (day > now) == is_to_come]
    return (min(found) if is_to_come else max(found)) if found else None


def _release(listing: Listing, now: float, quarters: int) -> int | None:
    """When a company told its earnings last, or some quarters later: every 91 days, after the close."""
    if listing.kind != "stock":
        return None
    phase = int(Dice(f"{listing.symbol} releases").between(1, 14)) * 7 + 1  # on a Thursday or the like, never a Sunday
    last = (int(now) // DAY_S - phase) // _QUARTER_DAYS * _QUARTER_DAYS + phase
    return (last + quarters * _QUARTER_DAYS) * DAY_S + _RELEASED_S


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
