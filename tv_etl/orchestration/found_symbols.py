"""The symbol sensors: each asks the screener which symbols its group collects, and fetches those that are new.

A symbol once found stays: its bars are worth no less when it is delisted, or ranks too low to be found again.
"""

from collections.abc import Sequence

import dagster as dg

from tv_etl.orchestration.partitions import found_symbols, partition_key, range_tags, symbols_of
from tv_etl.orchestration.resources import LakeResources
from tv_etl.orchestration.schedules import job_name, sensor_status
from tv_etl.tradingview.errors import ScannerError, SymbolError
from tv_etl.tradingview.printable import counted, printable
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import check_symbol
from tv_etl.watchlist.model import Group

SHOWN_SYMBOLS = 100


def build_symbols_sensor(
    group: Group, groups: Sequence[Group] = (), resources: LakeResources | None = None
) -> dg.SensorDefinition:
    """The sensor of a group that a scanner feeds; what other groups collect at one of its intervals stays theirs."""
    lake = resources or LakeResources()
    request = group.scanner
    assert request is not None
    rivals = [each for each in groups if each.name != group.name and set(each.intervals) & set(group.intervals)]

    @dg.sensor(
        name=f"{group.qualified_name}_symbols",
        job_name=job_name(group),
        minimum_interval_seconds=group.scan_interval_s,
        default_status=sensor_status(group),
        description=f"Asks the screener of {request.market} for the symbols of {group.name}; fetches the new ones.",
        required_resource_keys=lake.keys("scanner"),
    )
    def symbols(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            found = lake.scanner(context).symbols(request)
        except ScannerError as error:
            if not error.retryable:
                raise
            return dg.SensorResult(skip_reason=printable(str(error), 1_000))
        known = {symbol for each in (group, *rivals) for symbol in symbols_of(each, context.instance)}
        new = [symbol for symbol in found if symbol not in known and _is_usable(context, symbol)]
        if not new:
            return dg.SensorResult(skip_reason=f"{counted(len(found), 'symbol')} found, none of them new")
        more = f" and {len(new) - SHOWN_SYMBOLS:,} more" if len(new) > SHOWN_SYMBOLS else ""
        context.log.info(
            f"{counted(len(found), 'symbol')} found, {len(new):,} of them new: {', '.join(new[:SHOWN_SYMBOLS])}{more}"
        )
        keys = [partition_key(Series.of(symbol, interval)) for interval in group.intervals for symbol in new]
        # Registered and requested in one result: a request for a partition that is not registered fails the tick.
        # The new ones are registered one after the other, so that they are one range.
        return dg.SensorResult(
            dynamic_partitions_requests=[found_symbols(group).build_add_request(new)],
            run_requests=[dg.RunRequest(tags=range_tags(keys))],
        )

    return symbols


def _is_usable(context: dg.SensorEvaluationContext, symbol: str) -> bool:
    try:
        check_symbol(symbol)
    except SymbolError as error:
        context.log.warning(f"skipped: {printable(str(error))}")
        return False
    return "..." not in symbol  # Dagster's notation for a range of partitions
