"""Each scheduled interval is one run over one contiguous range of partitions."""

from datetime import datetime, timezone

import dagster as dg

from tv_etl.partitions import series_of, series_partitions
from tv_etl.schedules import build_job, build_schedules
from tv_etl.watchlist import Group

GROUP = Group(symbols=["NASDAQ:AAPL", "NSE:M&M"], intervals=["1d", "1h", "1m"], schedules={"1h": None})


def test_there_is_a_schedule_for_each_interval_that_wants_one() -> None:
    schedules = build_schedules(GROUP)
    assert [(each.name, each.cron_schedule) for each in schedules] == [
        ("bars_1d", "20 * * * *"),
        ("bars_1m", "*/5 * * * *"),
    ]
    assert {each.job_name for each in schedules} == {build_job(GROUP).name}


def test_a_schedule_asks_for_one_run_over_all_symbols() -> None:
    (_, minutes) = build_schedules(GROUP)
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 18, tzinfo=timezone.utc))
    (request,) = minutes.evaluate_tick(context).run_requests or []
    keys = series_partitions(GROUP).get_partition_keys()
    start, end = (keys.index(request.tags[f"dagster/asset_partition_range_{edge}"]) for edge in ("start", "end"))
    assert [series_of(key) for key in keys[start : end + 1]] == [("NASDAQ:AAPL", "1m"), ("NSE:M&M", "1m")]
