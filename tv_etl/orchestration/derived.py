"""What the runs of the derived assets do: build from the lake, store, and judge what was built."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone

import dagster as dg
import numpy as np

from tv_etl.lake.bars import Bars
from tv_etl.lake.derived.daily import DailyBars, Difference, daily_bars, differences, unjudged_days
from tv_etl.lake.derived.panel import refresh_panel
from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.record import HOURS_NOT_TOLD
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.check_targets import Report
from tv_etl.orchestration.derived_assets import MATCHES_TRADINGVIEW, NO_EMPTY_DAY
from tv_etl.orchestration.partitions import symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.tradingview.columns import numbers_of
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

_DAY = Interval.parse("1d")
_SHOWN = 20
_SHOWN_TEXT = 1_000  # characters
_NAMED = 5
# Within it the schedules fetch even what they fetch once a day.
_PATIENCE_S = 86_400
_FORMING_FROM = "tv_etl.forming_from"  # empty: no bar is forming


def daily_store(store: BarStore, interval: str) -> BarStore:
    """The store of the daily bars built from an interval, which are at 1d there."""
    return BarStore(f"{store.base}/daily_from_{Interval.parse(interval).token}")


def panel_reports(
    context: dg.AssetExecutionContext, group: Group, lake: LakeResources
) -> Iterator[dg.AssetMaterialization]:
    """Refresh the panel of each selected interval; raise Failure naming those that failed."""
    store, failed = lake.bar_store(context).store(), {}
    for interval in context.partition_keys if context.has_partition_key_range else [context.partition_key]:
        try:
            report = _panel_report(context, store, group, interval)
        except (BarStoreError, TradingViewError, ValueError) as error:
            failed[interval] = printable(str(error), 1_000)
        else:
            yield report
    if failed:
        text = "; ".join(f"{interval}: {reason}" for interval, reason in failed.items())
        raise dg.Failure(text, metadata={**failed}, allow_retries=False)


def _panel_report(
    context: dg.AssetExecutionContext, store: BarStore, group: Group, interval: str
) -> dg.AssetMaterialization:
    """Refresh the panel of an interval. Raises as `refresh_panel` does, ValueError where it would be one of nothing."""
    name, started = f"{group.name}_panel", time.monotonic()
    symbols = symbols_of(group, context.instance)
    refresh = refresh_panel(store, interval, symbols=symbols, name=name)
    if not refresh.symbols:
        raise ValueError(f"no bars of {group.name} are stored at that interval: fetch them first")
    records = [dg.TableRecord({"file": path.name, "bytes": path.stat().st_size}) for path in refresh.written[-_SHOWN:]]
    absent = [symbol for symbol in symbols if symbol not in set(refresh.symbols)]
    return dg.AssetMaterialization(
        asset_key=context.asset_key,
        partition=interval,
        metadata={
            "symbols": len(refresh.symbols),
            **({"symbols not stored": ", ".join(absent[:_SHOWN])} if absent else {}),
            "files written": len(refresh.written),
            "files unchanged": refresh.unchanged,
            "seconds": round(time.monotonic() - started, 2),
            **({f"the last {len(records)} written": dg.MetadataValue.table(records)} if records else {}),
            "dagster/uri": f"{store.base}/{name}/interval={interval}",
        },
    )


def daily_reports(
    context: dg.AssetExecutionContext, group: Group, interval: str, lake: LakeResources, key: dg.AssetKey
) -> Iterator[Report]:
    """Build the days of each selected symbol for the asset of that key; raise Failure naming those that failed."""
    store, failed = lake.bar_store(context).store(), {}
    selected = context.has_partition_key or context.has_partition_key_range
    for symbol in context.partition_keys if selected else symbols_of(group, context.instance):
        try:
            reports = list(_reports_of_symbol(context, key, store, symbol, interval))
        except Exception as error:  # whatever it is, it is this symbol's alone
            failed[symbol] = f"{type(error).__name__}: {printable(str(error), 1_000)}"
        else:
            yield from reports
    if failed:
        names, more = list(failed)[:_SHOWN], len(failed) - _SHOWN
        text = f"{len(failed)} symbols failed: {', '.join(names)}{f' and {more:,} more' if more > 0 else ''}"
        raise dg.Failure(text, metadata={name: failed[name] for name in names}, allow_retries=False)


def _reports_of_symbol(
    context: dg.AssetExecutionContext, key: dg.AssetKey, store: BarStore, symbol: str, interval: str
) -> Iterator[Report]:
    series, checks = Series.of(symbol, interval), {each.name for each in context.selected_asset_check_keys}
    built = build_daily(store, series, until=math.floor(time.time()) - _PATIENCE_S)
    if context.selected_asset_keys:
        yield dg.AssetMaterialization(asset_key=key, partition=symbol, metadata=_store_daily(store, series, built))
    if NO_EMPTY_DAY in checks:
        yield no_empty_day(key, series, built)
    if MATCHES_TRADINGVIEW in checks:
        yield _matches_tradingview(store, key, symbol, built)


def build_daily(store: BarStore, series: Series, *, until: int | None = None) -> DailyBars:
    """Build daily bars from what is stored of a finer series, of days that were over at `until` (UTC seconds).

    Raises as `BarStore.read` does.
    """
    return store.look(series, lambda stored: _daily_of(stored, until))


def _daily_of(stored: StoredSeries, until: int | None) -> DailyBars:
    record = stored.record()
    # Those of a day, even where the minutes are of extended hours.
    hours = record.regular_hours
    # Beyond a seam nothing is known to be of the same scale.
    fine = stored.between(record.counted_from, None)
    if hours is None:
        return unjudged_days(fine, printable(record.regular_hours_problem or HOURS_NOT_TOLD, _SHOWN_TEXT))
    kept_out = numbers_of(stored.quarantine()["timestamp"].cast("int64")) // 1_000_000
    built = daily_bars(fine, stored.series.interval, hours, record.asked, kept_out, until=until)
    if record.has_cadence:
        return built
    # Of a day without a point nobody says that it should have one.
    return replace(built, unbuilt=tuple(each for each in built.unbuilt if not each.is_silent))


def _store_daily(store: BarStore, series: Series, built: DailyBars) -> dict[str, dg.MetadataValue | str | int]:
    derived, symbol = daily_store(store, series.interval.token), series.symbol
    facts = {**store.record(*series).facts, "source": f"tv_etl from {series.interval}", "session": "regular"}
    table = built.bars.to_table()
    commit = derived.upsert(
        symbol,
        _DAY,
        table.replace_schema_metadata({f"tv_etl.{name}": text for name, text in facts.items()} | {_FORMING_FROM: ""}),
    )
    days = [{"day": str(each.day), "why": each.reason} for each in built.unbuilt[-_SHOWN:]]
    unjudged = sum(bool(each.problem) for each in built.unbuilt)
    return {
        "rows added": commit.added,
        "rows revised": commit.changed,
        "days not wholly stored": sum(not each.problem for each in built.unbuilt),
        "days of nothing": sum(each.is_empty for each in built.unbuilt),
        **({"days not judged": unjudged} if unjudged else {}),
        **({f"the last {len(days)} not built": _table(days)} if days else {}),
        **({"first bar": _date(commit.first), "last bar": _date(commit.last)} if commit.first and commit.last else {}),
        "dagster/partition_row_count": commit.rows,
        "dagster/uri": derived.uri(symbol, _DAY),
    }


def no_empty_day(key: dg.AssetKey, series: Series, built: DailyBars) -> dg.AssetCheckEvaluation:
    """Whether each day has something to be built of; a daily bar of nothing would be no bar, and nobody would see."""
    empty = [each for each in built.unbuilt if each.is_empty]
    days = [{"day": str(each.day), "why": each.reason} for each in empty[-_SHOWN:]]
    is_nothing = not len(built.bars) and not built.unbuilt
    description = f"every day has {series.interval} bars"
    if is_nothing:
        description = f"nothing is built: no {series.interval} bar of a trading day of {series.symbol} is stored"
    elif empty:
        more = f" and {len(empty) - _NAMED:,} more" if len(empty) > _NAMED else ""
        names = ", ".join(str(each.day) for each in empty[: -_NAMED - 1 : -1])
        description = f"{len(empty):,} days have nothing to be built of: {names}{more}; {empty[-1].reason}"
    is_warning = not is_nothing and all(each.is_silent for each in empty)
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=NO_EMPTY_DAY,
        partition=series.symbol,
        passed=not empty and not is_nothing,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata={"days of nothing": len(empty), **({f"the last {len(days)}": _table(days)} if days else {})},
    )


def _matches_tradingview(store: BarStore, key: dg.AssetKey, symbol: str, built: DailyBars) -> dg.AssetCheckEvaluation:
    theirs = Bars.from_stored(store.read(symbol, _DAY))
    problem = next((each.problem for each in built.unbuilt if each.problem), "")
    if problem:
        return dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=MATCHES_TRADINGVIEW,
            partition=symbol,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"no day is built, and none compared: {problem}",
            metadata={"days not judged": len(built.unbuilt)},
        )
    found = differences(built, theirs)
    days = sorted({each.open_s for each in found})
    compared = len(np.intersect1d(built.bars.times, theirs.times))
    shown = [_difference(each) for each in found[-_SHOWN:]]
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=MATCHES_TRADINGVIEW,
        partition=symbol,
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(days)} of {compared} days differ" if found else f"{compared} days match",
        metadata={
            "days compared": compared,
            "days that differ": len(days),
            **{f"{name} differs": sum(each.field == name for each in found) for name in {e.field for e in found}},
            **({f"the last {len(shown)} differences": _table(shown)} if shown else {}),
        },
    )


def _difference(each: Difference) -> dict[str, str]:
    day = datetime.fromtimestamp(each.open_s, tz=timezone.utc).isoformat()
    if each.field == "bar":
        return {"day opens": day, "field": "bar", "built": _presence(each.ours), "TradingView": _presence(each.theirs)}
    return {"day opens": day, "field": each.field, "built": str(each.ours), "TradingView": str(each.theirs)}


def _presence(value: float | None) -> str:
    return "missing" if value is None else "present"


def _table(rows: list[dict[str, str]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
