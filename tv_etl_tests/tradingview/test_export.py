"""Bars become frames and files; every indicator agrees with a plain computation of it."""

import asyncio
import csv
import itertools
import json
import math
import os
import statistics
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.tradingview.errors import ExportError, MissingExtraError
from tv_etl.tradingview.export import DataExporter
from tv_etl.tradingview.models import OHLCVBar

BASE = {"timestamp": pl.Datetime("us", "UTC")} | dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
ANALYSIS = ("simple_return", "log_return", "sma_20", "sma_50", "ema_12", "ema_26", "rsi_14", "volatility_20")
EXPORTER = DataExporter()
DAY_S = 86_400


def bar(day: int, close: float, volume: float | None = 1.5) -> OHLCVBar:
    return OHLCVBar(timestamp=day * DAY_S, open=close, high=close + 1, low=close - 1, close=close, volume=volume)


def bars_of(closes: list[float]) -> list[OHLCVBar]:
    return [bar(20_000 + day, close) for day, close in enumerate(closes)]


def analysed(closes: list[float]) -> pl.DataFrame:
    return asyncio.run(EXPORTER.to_polars(bars_of(closes), add_analysis=True))


# --- the plain computations: no window function, no recursion shared with the code under test --------------------


def plain_ema(values: list[float], window: int, weight: float) -> list[float | None]:
    """Each value from all before it, without carrying anything over."""
    result: list[float | None] = []
    for row in range(len(values)):
        if row < window - 1:
            result.append(None)
            continue
        steps = row - (window - 1)
        total = (1 - weight) ** steps * statistics.fmean(values[:window])
        total += math.fsum(weight * (1 - weight) ** (row - at) * values[at] for at in range(window, row + 1))
        result.append(total)
    return result


def plain_rsi(closes: list[float]) -> list[float | None]:
    changes = [after - before for before, after in itertools.pairwise(closes)]
    rises = plain_ema([max(change, 0.0) for change in changes], 14, 1 / 14)
    falls = plain_ema([max(-change, 0.0) for change in changes], 14, 1 / 14)
    result: list[float | None] = [None]
    for rise, fall in zip(rises, falls, strict=True):
        if rise is None or fall is None:
            result.append(None)
        else:
            result.append(100.0 if fall == 0 else 100 * rise / (rise + fall))
    return result[: len(closes)]


def plain_logs(closes: list[float]) -> list[float | None]:
    pairs = itertools.pairwise(closes)
    return [None, *(math.log(b) - math.log(a) if a > 0 and b > 0 else None for a, b in pairs)][: len(closes)]


def plain_windows(values: list[float | None], window: int, judge: Callable[[list[float]], float]) -> list[float | None]:
    result: list[float | None] = []
    for row in range(len(values)):
        last = [value for value in values[max(row - window + 1, 0) : row + 1] if value is not None]
        result.append(judge(last) if len(last) == window else None)
    return result


def expected(closes: list[float]) -> dict[str, list[float | None]]:
    mean: Callable[[list[float]], float] = statistics.fmean
    pairs = itertools.pairwise(closes)
    returns: list[float | None] = [None, *((b - a) / a if a else None for a, b in pairs)]
    return {
        "simple_return": returns[: len(closes)],
        "log_return": plain_logs(closes),
        "sma_20": plain_windows([*closes], 20, mean),
        "sma_50": plain_windows([*closes], 50, mean),
        "ema_12": plain_ema(closes, 12, 2 / 13),
        "ema_26": plain_ema(closes, 26, 2 / 27),
        "rsi_14": plain_rsi(closes),
        "volatility_20": plain_windows(plain_logs(closes), 20, statistics.stdev),
    }


def check(closes: list[float], *, abs_tolerance: float = 1e-9) -> None:
    frame = analysed(closes)
    for name, wanted in expected(closes).items():
        got = frame[name].to_list()
        assert [value is None for value in got] == [value is None for value in wanted], name
        pairs = [(a, b) for a, b in zip(got, wanted, strict=True) if a is not None and b is not None]
        assert all(math.isclose(a, b, rel_tol=1e-9, abs_tol=abs_tolerance) for a, b in pairs), name


# --- frames ---------------------------------------------------------------------------------------------------


def test_a_frame_has_the_documented_columns_and_keeps_every_value() -> None:
    bars = [bar(20_000, 1.25), bar(20_001, 0.1, None)]
    frame = asyncio.run(EXPORTER.to_polars(bars))
    assert dict(frame.schema) == BASE
    assert frame["timestamp"].to_list() == [datetime.fromtimestamp(b.timestamp, timezone.utc) for b in bars]
    assert frame["close"].to_list() == [1.25, 0.1]
    assert frame["volume"].to_list() == [1.5, None]


@pytest.mark.parametrize("add_analysis", [False, True])
def test_no_bars_are_an_empty_frame_of_the_same_schema(add_analysis: bool) -> None:
    frame = asyncio.run(EXPORTER.to_polars([], add_analysis))
    extra = dict.fromkeys(ANALYSIS, pl.Float64) if add_analysis else {}
    assert frame.height == 0
    assert dict(frame.schema) == {**BASE, **extra}
    assert dict(analysed([1.0, 2.0]).schema) == {**BASE, **dict.fromkeys(ANALYSIS, pl.Float64)}


def test_every_indicator_agrees_with_its_plain_computation() -> None:
    check([100 + 10 * math.sin(day / 3) + (day * 7919 % 13) / 5 for day in range(120)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 10**7).map(lambda ticks: ticks / 100), min_size=0, max_size=70))
def test_indicators_agree_for_any_prices(closes: list[float]) -> None:
    # A sum that is carried along loses digits against prices that were a million times higher.
    check(closes, abs_tolerance=1e-4)


def test_rsi_of_wilders_kind_on_a_known_series() -> None:
    """The worked example of StockCharts' ChartSchool ("cs-rsi", QQQQ): 70.53 after 14 changes, then 66.32, 66.55."""
    closes = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931,
              46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328]  # fmt: skip
    found = analysed(closes)["rsi_14"].to_list()
    assert found[:14] == [None] * 14
    assert [round(value, 2) for value in found[14:]] == [70.53, 66.32, 66.55]


def test_a_rise_without_a_fall_is_a_hundred_and_a_fall_without_a_rise_nothing() -> None:
    assert analysed([float(day) for day in range(1, 20)])["rsi_14"].to_list()[14:] == [100.0] * 5
    assert analysed([float(day) for day in range(20, 1, -1)])["rsi_14"].to_list()[14:] == [0.0] * 5


def test_prices_at_and_below_zero_have_no_logarithm_and_no_nan() -> None:
    closes = [10.0, 0.0, -37.63, 10.0, *(float(day) for day in range(1, 40))]
    check(closes)
    frame = analysed(closes)
    assert not any(frame[name].is_nan().any() or frame[name].is_infinite().any() for name in ANALYSIS)
    assert frame["simple_return"].to_list()[:4] == [None, -1.0, None, 10.0 / -37.63 - 1]


@pytest.mark.parametrize("days", [[1, 1], [2, 1]])
def test_an_analysis_of_bars_out_of_order_is_refused(days: list[int]) -> None:
    with pytest.raises(ExportError, match="not later than the one before"):
        asyncio.run(EXPORTER.to_polars([bar(day, 1.0) for day in days], add_analysis=True))
    assert asyncio.run(EXPORTER.to_polars([bar(day, 1.0) for day in days])).height == 2


@pytest.mark.parametrize("method", ["to_polars", "to_parquet"])
def test_without_polars_the_extra_is_named_and_files_of_text_work(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # what Python itself does to forbid an import
    arguments = [tmp_path / "x.parquet"] if method == "to_parquet" else []
    with pytest.raises(MissingExtraError, match=r"pip install 'tv-etl\[export\]'"):
        asyncio.run(getattr(EXPORTER, method)([bar(1, 1.0)], *arguments))
    assert asyncio.run(EXPORTER.to_json([bar(1, 1.0)], tmp_path / "x.json")).exists()
    assert asyncio.run(EXPORTER.to_csv([bar(1, 1.0)], tmp_path / "x.csv")).exists()
    assert not (tmp_path / "x.parquet").exists()


# --- files ----------------------------------------------------------------------------------------------------

any_bars = st.lists(
    st.builds(
        OHLCVBar,
        timestamp=st.integers(-(10**9), 10**10),
        **dict.fromkeys(("open", "high", "low", "close"), st.floats(allow_nan=False, allow_infinity=False)),
        volume=st.none() | st.floats(0, allow_infinity=False),
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(bars=any_bars)
def test_json_csv_and_parquet_give_every_bar_back_exactly(
    bars: list[OHLCVBar], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")

    async def export() -> list[Path]:
        return [
            await EXPORTER.to_json(bars, folder / "a.json"),
            await EXPORTER.to_csv(bars, str(folder / "a.csv")),
            await EXPORTER.to_parquet(bars, folder / "a.parquet"),
        ]

    json_path, csv_path, parquet_path = asyncio.run(export())
    with csv_path.open(newline="", encoding="utf-8") as file:
        from_csv = [{**row, "volume": row["volume"] or None} for row in csv.DictReader(file)]
    for found in (json.loads(json_path.read_text("utf-8")), from_csv):
        assert [OHLCVBar.model_validate({**row, "timestamp": seconds(str(row["timestamp"]))}) for row in found] == bars
    table = pl.read_parquet(parquet_path)
    assert dict(table.schema) == BASE
    rows = [{**row, "timestamp": int(row["timestamp"].timestamp())} for row in table.to_dicts()]
    assert [OHLCVBar.model_validate(row) for row in rows] == bars


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def seconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() is not None and not moment.microsecond
    return int(moment.timestamp())


def test_json_says_times_and_missing_volume_plainly(tmp_path: Path) -> None:
    path = asyncio.run(EXPORTER.to_json([bar(20_777, 1.5, None)], tmp_path / "a.json"))
    (found,) = json.loads(path.read_text())
    assert found == {
        "timestamp": "2026-11-20T00:00:00+00:00", "open": 1.5, "high": 2.5, "low": 0.5, "close": 1.5, "volume": None
    }  # fmt: skip


def test_parquet_holds_the_analysis(tmp_path: Path) -> None:
    path = asyncio.run(EXPORTER.to_parquet(bars_of([1.0, 2.0]), tmp_path / "a.parquet", add_analysis=True))
    assert pl.read_parquet(path)["simple_return"].to_list() == [None, 1.0]


def test_directories_are_made_and_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "export" / "today" / "a.csv"
    asyncio.run(EXPORTER.to_csv([bar(1, 1.0), bar(2, 2.0)], path))
    asyncio.run(EXPORTER.to_csv([bar(1, 1.0)], path))
    assert path.read_text().splitlines()[1:] == ["1970-01-02T00:00:00+00:00,1.0,2.0,0.0,1.0,1.5"]
    assert names(path.parent) == ["a.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_file_that_cannot_be_finished_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    asyncio.run(EXPORTER.to_json([bar(1, 1.0)], path))
    before = path.read_bytes()
    with pytest.raises(ExportError, match="1970-01-03T00:00:00"):
        asyncio.run(EXPORTER.to_json([bar(1, 1.0), bar(2, math.nan)], path))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("method", ["to_json", "to_csv", "to_parquet"])
def test_a_path_that_cannot_be_written_is_named(method: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(ExportError, match=path.name[:6]):
            asyncio.run(getattr(EXPORTER, method)([bar(1, 1.0)], path))
    assert names(tmp_path) == ["file", "folder"]
