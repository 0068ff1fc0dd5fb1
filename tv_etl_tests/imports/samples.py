"""Files as people have them, one of each form, and the bars that are in them."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

Bar = tuple[int, float, float, float, float, float | None]  # the open in UTC seconds, prices, volume

NEW_YORK = "0930-1600@America/New_York"


def at(text: str) -> int:
    """A moment in UTC, in seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


# Three days of a share in January, each from 9:30 in New York.
DAYS: list[Bar] = [
    (at("2024-01-02 14:30"), 187.15, 188.44, 183.885, 185.64, 82488674.0),
    (at("2024-01-03 14:30"), 184.22, 185.88, 183.43, 184.25, 58414460.0),
    (at("2024-01-04 14:30"), 182.15, 183.0872, 180.88, 181.91, 71983570.0),
]
# The days on both sides of the change to summer time.
SPRING: list[Bar] = [
    (at("2024-03-08 14:30"), 169.0, 173.7, 168.94, 170.73, 76267000.0),
    (at("2024-03-11 13:30"), 172.94, 174.38, 172.05, 172.75, 60139500.0),
    (at("2024-03-12 13:30"), 173.15, 174.03, 171.01, 173.23, 59825400.0),
]
HOURS: list[Bar] = [
    (at("2024-01-01 00:00"), 42283.58, 42554.57, 42261.02, 42475.23, 1271.68108),
    (at("2024-01-01 01:00"), 42475.23, 42775.0, 42431.65, 42613.56, 1196.37856),
    (at("2024-01-01 02:00"), 42613.57, 42638.41, 42500.0, 42581.1, 685.2198),
]
MINUTES: list[Bar] = [
    (at("2024-01-02 14:30"), 162.83, 163.0, 162.4, 162.9, 81_000.0),
    (at("2024-01-02 14:35"), 162.9, 163.1, 162.8, 163.0, 21_500.0),
    (at("2024-01-02 14:40"), 163.0, 163.2, 162.9, 163.1, 18_250.0),
]
INDEX: list[Bar] = [(*bar[:5], None) for bar in MINUTES]
CRYPTO_DAYS: list[Bar] = [(at(f"2024-01-0{day} 00:00"), *HOURS[day - 1][1:]) for day in (1, 2, 3)]
WEEKS: list[Bar] = [  # the Mondays of two of them are holidays
    (at("2024-01-08 14:30"), 182.09, 187.05, 181.5, 185.92, 283e6),
    (at("2024-01-16 14:30"), 182.16, 191.95, 180.3, 191.56, 265e6),
    (at("2024-01-22 14:30"), 192.3, 196.38, 191.94, 192.42, 250e6),
]
MONTHS: list[Bar] = [
    (at("2024-01-02 14:30"), 187.15, 196.38, 180.17, 184.4, 1187e6),
    (at("2024-02-01 14:30"), 183.99, 191.05, 179.25, 180.75, 1161e6),
    (at("2024-03-01 14:30"), 179.55, 180.53, 168.49, 171.48, 1432e6),
]


@dataclass(frozen=True)
class Sample:
    """A file of a form: what is in it, what has to be said of it, and the bars that a lake has of it."""

    name: str
    content: str | Callable[[Path], object]
    bars: Mapping[str, list[Bar]]  # by series
    options: Mapping[str, Any] = field(default_factory=dict)

    def write(self, directory: Path) -> Path:
        path = directory / self.name
        if callable(self.content):
            self.content(path)
        elif path.suffix == ".gz":
            path.write_bytes(gzip.compress(self.content.encode()))
        else:
            path.write_text(self.content, encoding="utf-8")
        return path


def lines(header: str, bars: list[Bar], times: list[str], *, more: str = "", separator: str = ",") -> str:
    """A text file with a row for each bar."""
    rows = []
    for time, (_, *values) in zip(times, bars, strict=True):
        cells = [time, *("" if value is None else f"{value:.10g}" for value in values)]
        rows.append(separator.join(cells) + more)
    return "\n".join([header, *rows, ""])


def frame(bars: list[Bar], times: Any, time: str = "date", names: str = "open high low close volume") -> pd.DataFrame:
    """The same as pandas has it."""
    columns = {name: [bar[place] for bar in bars] for place, name in enumerate(names.split(), start=1)}
    return pd.DataFrame({time: times, **columns})


def moments(bars: list[Bar]) -> pd.DatetimeIndex:
    return pd.to_datetime([bar[0] for bar in bars], unit="s", utc=True)


def two_tickers(path: Path) -> None:
    """What yfinance's download makes of two tickers."""
    parts: dict[str, list[Bar]] = {"AAPL": DAYS, "JNJ": [(*bar[:5], 1000.0) for bar in DAYS]}
    columns = {
        (name, ticker): [bar[place] for bar in bars]
        for place, name in enumerate(("Open", "High", "Low", "Close", "Volume"), start=1)
        for ticker, bars in parts.items()
    }
    days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    whole = pd.DataFrame(columns, index=pd.Index(days, name="Date"))
    whole.columns.names = ["Price", "Ticker"]
    whole.sort_index(axis=1).to_csv(path)


def labelled(path: Path, form: str) -> None:
    """What tv-etl fetch writes of two series, one after the other."""
    parts = [("BINANCE:BTCUSDT", "1h", HOURS), ("NYSE:IBM", "5m", INDEX)]
    rows = [(symbol, interval, *bar) for symbol, interval, bars in parts for bar in bars]
    names = ["symbol", "interval", "timestamp", "open", "high", "low", "close", "volume"]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    texts = [datetime.fromtimestamp(each, timezone.utc).isoformat() for each in columns["timestamp"]]
    if form == "json":
        each = [
            dict(zip(names, [*row[:2], text, *row[3:]], strict=True)) for row, text in zip(rows, texts, strict=True)
        ]
        path.write_text(json.dumps(each, indent=1), encoding="utf-8")
    elif form == "csv":
        pl.DataFrame({**columns, "timestamp": texts}).write_csv(path)
    else:
        times = pa.array([each * 1_000_000 for each in columns["timestamp"]], pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({**columns, "timestamp": times}), path, row_group_size=4)


UTC_TIMES = ["2024-01-02T14:30:00+00:00", "2024-01-03T14:30:00+00:00", "2024-01-04T14:30:00+00:00"]
APPLE = {"NASDAQ:AAPL 1d": DAYS}
IBM = {"NYSE:IBM 5m": MINUTES}
BITCOIN = {"BINANCE:BTCUSDT 1h": HOURS}
BARE = {"symbol": "NASDAQ:AAPL", "interval": "1d"}

CHARTS = [
    Sample(
        "NASDAQ_AAPL, 1D.csv",
        lines(
            "time,open,high,low,close,Volume,RSI,RSI", DAYS, ["2024-01-02", "2024-01-03", "2024-01-04"], more=",47.1,"
        ),
        APPLE,
        {"hours": NEW_YORK},
    ),
    Sample(
        "NASDAQ_AAPL, 1D (1).csv",
        lines("time,open,high,low,close,Volume", SPRING, ["1709908200", "1710163800", "1710250200"]),
        {"NASDAQ:AAPL 1d": SPRING},
    ),
    Sample(
        "BINANCE_BTCUSDT, 60_a1b2c.csv",
        lines("\ufefftime,open,high,low,close,Volume", HOURS, ["1704067200", "1704070800", "1704074400"]),
        BITCOIN,
    ),
    Sample(
        "NYSE_IBM, 5.csv",
        lines(
            "time,open,high,low,close,MA,Volume",
            [(*bar[:5], None) for bar in MINUTES],
            [f"2024-01-02T09:{minute}:00-05:00" for minute in (30, 35, 40)],
            more=",NaN",
        ),
        {"NYSE:IBM 5m": INDEX},
    ),
    Sample(
        "CME_MINI_ES1!, 60.csv",
        lines("time,open,high,low,close", INDEX, [f"2024-01-01T0{hour}:00:00Z" for hour in (0, 1, 2)]).replace(
            ",\n", "\n"
        ),
        {"CME_MINI:ES1! 1h": [(hour[0], *bar[1:]) for hour, bar in zip(HOURS, INDEX, strict=True)]},
    ),
]
OURS = [
    Sample(f"bars.{form}", lambda path, form=form: labelled(path, form), {**BITCOIN, "NYSE:IBM 5m": INDEX})  # type: ignore[misc]
    for form in ("csv", "json", "parquet")
]
TVKIT = [
    Sample("fetched.csv", lines("timestamp,open,high,low,close,volume", DAYS, UTC_TIMES), APPLE, BARE),
    Sample(
        "ohlcv_NASDAQ:AAPL_20240105-093000.csv",
        lines(
            "timestamp,open,high,low,close,volume,symbol,interval",
            DAYS,
            ["1704205800.0", "1704292200.0", "1704378600.0"],
            more=",NASDAQ:AAPL,1D",
        ),
        APPLE,
    ),
    Sample(
        "fetched.json",
        json.dumps(
            {
                "data": [
                    dict(
                        zip(
                            ("close", "high", "low", "open", "timestamp", "volume"),
                            (bar[4], bar[2], bar[3], bar[1], text, bar[5]),
                            strict=True,
                        )
                    )
                    for bar, text in zip(DAYS, UTC_TIMES, strict=True)
                ],
                "metadata": {"source": "ohlcv", "record_count": 3},
            },
            indent=2,
        ),
        APPLE,
        BARE,
    ),
    Sample(
        "fetched.parquet",
        lambda path: pl.DataFrame(
            {
                "timestamp": UTC_TIMES,
                **{n: [b[p] for b in DAYS] for p, n in enumerate(("open", "high", "low", "close", "volume"), 1)},
            }
        ).write_parquet(path),
        APPLE,
        BARE,
    ),
]
TVDATAFEED = [
    Sample(
        "hist.csv",
        lines(
            "datetime,symbol,open,high,low,close,volume",
            DAYS,
            [f"2024-01-0{day} 15:30:00,NASDAQ:AAPL" for day in (2, 3, 4)],
        ),
        APPLE,
        {"interval": "1d", "timezone": "Europe/Berlin"},
    ),
    Sample(
        "hist.parquet",
        lambda path: (
            frame(MINUTES, moments(MINUTES).tz_convert("Asia/Kolkata").tz_localize(None), "datetime")
            .set_index("datetime")
            .assign(symbol="NYSE:IBM")
            .to_parquet(path)
        ),
        IBM,
        {"interval": "5m", "timezone": "Asia/Kolkata"},
    ),
]
YFINANCE = [
    Sample(
        "AAPL.csv",
        lines(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            SPRING,
            ["2024-03-08 00:00:00-05:00", "2024-03-11 00:00:00-04:00", "2024-03-12 00:00:00-04:00"],
            more=",0.0,0.0",
        ),
        {"NASDAQ:AAPL 1d": SPRING},
        {"exchange": "NASDAQ", "interval": "1d", "adjustment": "dividends", "hours": NEW_YORK},
    ),
    Sample(
        "old.csv",
        "\n".join(
            [
                "Date,Open,High,Low,Close,Adj Close,Volume",
                *(
                    f"2024-01-0{day},{b[1]},{b[2]},{b[3]},{b[4]},{b[4] * 0.99},{b[5]:.0f}"
                    for day, b in enumerate(DAYS, 2)
                ),
            ]
        ),
        APPLE,
        {**BARE, "hours": NEW_YORK},
    ),
    Sample(
        "download.csv",
        "\n".join(
            [
                "Price,Close,High,Low,Open,Volume",
                "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL",
                "Date,,,,,",
                *(f"2024-01-0{day},{b[4]},{b[2]},{b[3]},{b[1]},{b[5]:.0f}" for day, b in enumerate(DAYS, 2)),
                "",
            ]
        ),
        APPLE,
        {"symbols": ["AAPL=NASDAQ:AAPL"], "interval": "1d", "adjustment": "dividends", "hours": NEW_YORK},
    ),
    Sample(
        "two.csv",
        two_tickers,
        {**APPLE, "NYSE:JNJ 1d": [(*bar[:5], 1000.0) for bar in DAYS]},
        {
            "symbols": ["AAPL=NASDAQ:AAPL", "JNJ=NYSE:JNJ"],
            "interval": "1d",
            "adjustment": "splits",
            "hours": NEW_YORK,
        },
    ),
    Sample(
        "ibm.parquet",
        lambda path: (
            frame(MINUTES, moments(MINUTES).tz_convert("America/New_York"), "Datetime", "Open High Low Close Volume")
            .set_index("Datetime")
            .to_parquet(path)
        ),
        IBM,
        {"symbol": "NYSE:IBM", "interval": "5m", "adjustment": "splits"},
    ),
    Sample(
        "weeks.csv",
        lines("Date,Open,High,Low,Close,Adj Close,Volume", WEEKS, ["2024-01-08", "2024-01-15", "2024-01-22"])
        .replace(",283", ",185,283")
        .replace(",265", ",191,265")
        .replace(",250", ",192,250"),
        {"NASDAQ:AAPL 1w": WEEKS},
        {"symbol": "NASDAQ:AAPL", "interval": "1w", "hours": "calendar"},
    ),
    Sample(
        "months.parquet",
        lambda path: frame(
            MONTHS, pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"]), "Date", "Open High Low Close Volume"
        ).to_parquet(path),
        {"NASDAQ:AAPL 1mo": MONTHS},
        {"symbol": "NASDAQ:AAPL", "interval": "1mo", "adjustment": "dividends", "hours": "calendar"},
    ),
]
FREQTRADE = [
    Sample(
        "BTC_USDT-1h.feather",
        lambda path: feather.write_feather(frame(HOURS, moments(HOURS)), str(path)),
        BITCOIN,
        {"exchange": "BINANCE"},
    ),
    Sample(
        "BTC_USDT-1h.json",
        json.dumps([[bar[0] * 1000, *bar[1:]] for bar in HOURS]),
        BITCOIN,
        {"symbols": ["BTC_USDT=BINANCE:BTCUSDT"]},
    ),
    Sample(
        "BTC_USDT-1h.json.gz",
        json.dumps([[bar[0] * 1000, *bar[1:]] for bar in HOURS]),
        BITCOIN,
        {"exchange": "BINANCE"},
    ),
    Sample(
        "BTC_USDT-1d.parquet",
        lambda path: frame(CRYPTO_DAYS, moments(CRYPTO_DAYS)).to_parquet(path),
        {"BINANCE:BTCUSDT 1d": CRYPTO_DAYS},
        {"exchange": "BINANCE", "hours": "24x7"},
    ),
]
NAMED = [
    Sample(
        "vendor.arrow",
        lambda path: write_stream(path, frame(MINUTES, [bar[0] * 1000 for bar in MINUTES], "when", "o h l last vol")),
        IBM,
        {
            "symbol": "NYSE:IBM",
            "interval": "5m",
            "adjustment": "splits",
            "columns": ["time=when", "open=o", "high=h", "low=l", "close=last", "volume=vol"],
        },
    ),
    Sample(
        "vendor.csv.gz",
        lines("when;open;high;low;last;vol", DAYS, ["02", "03", "04"], separator=";")
        .replace(".", ",")
        .replace("\n0", "\n2024-01-0"),
        APPLE,
        {**BARE, "adjustment": "splits", "columns": ["time=when", "close=last", "volume=vol"], "hours": NEW_YORK},
    ),
]
SAMPLES = [*CHARTS, *OURS, *TVKIT, *TVDATAFEED, *YFINANCE, *FREQTRADE, *NAMED]


def write_stream(path: Path, table: pd.DataFrame) -> None:
    whole = pa.Table.from_pandas(table, preserve_index=False)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, whole.schema) as stream:
        stream.write_table(whole)
