"""What is on everybody's watchlist: tables of facts, of which `instruments` makes listings.

Prices are levels in late 2026; volumes are shares, coins or changes of the price a day.
"""

from datetime import date
from typing import NamedTuple


class Share(NamedTuple):
    """A share or a fund of the New York exchanges."""

    symbol: str
    name: str
    price: float
    daily_volume: int
    volatility: float = 0.016
    isin: str = ""
    first_day: date = date(2000, 1, 3)


STOCKS = (
    Share("NASDAQ:NVDA", "NVIDIA Corporation", 190.0, 180_000_000, 0.028, "US67066G1040"),
    Share("NASDAQ:AMZN", "Amazon.com, Inc.", 235.0, 42_000_000, 0.020, "US0231351067"),
    Share("NASDAQ:META", "Meta Platforms, Inc.", 690.0, 13_000_000, 0.022, "US30303M1027", date(2012, 5, 18)),
    Share("NASDAQ:GOOG", "Alphabet Inc.", 291.0, 21_000_000, 0.017, "US02079K1079", date(2014, 3, 27)),
    Share("NASDAQ:AMD", "Advanced Micro Devices, Inc.", 225.0, 45_000_000, 0.032, "US0079031078"),
    Share("NASDAQ:AVGO", "Broadcom Inc.", 350.0, 20_000_000, 0.026, "US11135F1012", date(2009, 8, 6)),
    Share("NASDAQ:NFLX", "Netflix, Inc.", 112.0, 38_000_000, 0.022, "US64110L1061", date(2002, 5, 23)),
    Share("NASDAQ:INTC", "Intel Corporation", 36.0, 90_000_000, 0.028, "US4581401001"),
    Share("NASDAQ:PLTR", "Palantir Technologies Inc.", 175.0, 60_000_000, 0.036, "US69608A1088", date(2020, 9, 30)),
    Share("NASDAQ:COST", "Costco Wholesale Corporation", 920.0, 2_100_000, 0.012, "US22160K1051"),
    Share("NYSE:JPM", "JP Morgan Chase & Co.", 305.0, 8_900_000, 0.013, "US46625H1005"),
    Share("NYSE:V", "Visa Inc.", 335.0, 6_200_000, 0.012, "US92826C8394", date(2008, 3, 19)),
    Share("NYSE:XOM", "Exxon Mobil Corporation", 115.0, 15_000_000, 0.013, "US30231G1022"),
    Share("NYSE:KO", "Coca-Cola Company (The)", 71.0, 15_000_000, 0.009, "US1912161007"),
    Share("NYSE:DIS", "Walt Disney Company (The)", 107.0, 9_000_000, 0.015, "US2546871060"),
    Share("NYSE:GME", "GameStop Corporation", 23.0, 8_000_000, 0.035, "US36467W1099", date(2002, 2, 13)),
)  # fmt: skip

# Of the exchange in their symbol: Nasdaq, or NYSE Arca that TradingView calls AMEX.
FUNDS = (
    Share("NASDAQ:QQQ", "Invesco QQQ Trust Series I", 620.0, 52_000_000, 0.013, "US46090E1038"),
    Share("NASDAQ:TLT", "iShares 20+ Year Treasury Bond ETF", 90.0, 38_000_000, 0.009, "US4642874329",
          date(2002, 7, 30)),
    Share("AMEX:VOO", "Vanguard S&P 500 ETF", 634.0, 7_000_000, 0.010, "US9229083632", date(2010, 9, 9)),
    Share("AMEX:IWM", "iShares Russell 2000 ETF", 247.0, 32_000_000, 0.014, "US4642876555", date(2000, 5, 26)),
    Share("AMEX:DIA", "State Street SPDR Dow Jones Industrial Average ETF Trust", 479.0, 5_000_000, 0.009,
          "US78467X1090"),
    Share("AMEX:GLD", "SPDR Gold Trust", 313.0, 11_000_000, 0.010, "US78463V1070", date(2004, 11, 18)),
)  # fmt: skip


class Coin(NamedTuple):
    """A pair of a coin and what it is paid in, at one exchange; `volume_decimals` is how finely the coin is divided."""

    symbol: str
    name: str
    price: float
    pricescale: int
    volume: float
    base: str
    quote: str
    first_day: date
    is_perpetual: bool = False
    volume_decimals: int = 5


COINS = (
    Coin("COINBASE:BTCUSD", "Bitcoin / U.S. Dollar", 98_000.0, 100, 9_000.0, "BTC", "USD", date(2015, 1, 8)),
    Coin("COINBASE:SOLUSD", "Solana / U.S. Dollar", 150.0, 100, 1_500_000.0, "SOL", "USD", date(2021, 6, 17)),
    Coin("BITSTAMP:ETHUSD", "Ethereum / U.S. Dollar", 3_600.0, 10, 6_000.0, "ETH", "USD", date(2017, 8, 17)),
    Coin("KRAKEN:XRPEUR", "XRP / Euro", 1.95, 100_000, 9_000_000.0, "XRP", "EUR", date(2017, 5, 18)),
    Coin("KRAKEN:BTCEUR", "Bitcoin / Euro", 86_700.0, 10, 900.0, "BTC", "EUR", date(2013, 9, 10)),
    Coin("BITFINEX:LTCBTC", "Litecoin / Bitcoin", 0.00104, 10_000_000, 6_000.0, "LTC", "BTC", date(2013, 5, 22)),
    Coin("BINANCE:SOLUSDT", "Solana / TetherUS", 150.0, 100, 5_000_000.0, "SOL", "USDT", date(2020, 8, 11)),
    Coin("BINANCE:XRPUSDT", "XRP / TetherUS", 2.2, 10_000, 150_000_000.0, "XRP", "USDT", date(2018, 5, 4)),
    Coin("BINANCE:BNBUSDT", "BNB / TetherUS", 900.0, 100, 200_000.0, "BNB", "USDT", date(2017, 11, 6)),
    Coin("BINANCE:DOGEUSDT", "Dogecoin / TetherUS", 0.16, 100_000, 900_000_000.0, "DOGE", "USDT", date(2019, 7, 5)),
    Coin("BINANCE:ADAUSDT", "Cardano / TetherUS", 0.55, 10_000, 150_000_000.0, "ADA", "USDT", date(2018, 4, 17)),
    Coin("BYBIT:BTCUSDT.P", "BTCUSDT Perpetual Contract", 98_000.0, 10, 90_000.0, "BTC", "USDT", date(2020, 3, 25),
         is_perpetual=True),
    Coin("OKX:PEPEUSDT", "Pepe / TetherUS", 0.000004715, 1_000_000_000, 400_000_000_000.0, "PEPE", "USDT",
         date(2023, 5, 5), volume_decimals=1),
)  # fmt: skip


class Pair(NamedTuple):
    """Two currencies. Brokers count the changes of the price, banks' rates have no volume."""

    symbol: str
    name: str
    price: float
    ticks_a_day: int | None
    pricescale: int = 100_000
    volatility: float = 0.0045


PAIRS = (
    Pair("FX:GBPUSD", "British Pound / U.S. Dollar", 1.31, 190_000),
    Pair("FX:USDJPY", "U.S. Dollar / Japanese Yen", 154.0, 230_000, 1_000, 0.006),
    Pair("FX:AUDUSD", "Australian Dollar / U.S. Dollar", 0.65, 140_000),
    Pair("FX:USDCHF", "U.S. Dollar / Swiss Franc", 0.81, 120_000),
    Pair("OANDA:EURUSD", "Euro / U.S. Dollar", 1.13, 90_000),
    Pair("OANDA:GBPJPY", "British Pound / Japanese Yen", 201.7, 160_000, 1_000, 0.006),
    Pair("FOREX:AUDUSD", "Australian Dollar / U.S. Dollar", 0.65, None),
)  # fmt: skip
