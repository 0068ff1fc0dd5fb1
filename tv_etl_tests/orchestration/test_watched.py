"""What the notifications of a watchlist are about."""

import dagster as dg

from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.watched import Watched
from tv_etl.watchlist.model import Watchlist


def test_it_is_all_that_was_defined_of_a_watchlist() -> None:
    rule = {"name": "high", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 1}
    content = {
        "groups": [{"symbols": ["NASDAQ:AAPL"], "intervals": ["1d", "1m"], "panel": True, "daily_from": "1m"}],
        "alerts": {"rules": [rule]},
    }
    found = build_definitions(Watchlist.model_validate(content))
    assets = [
        each
        for each in [*(found.assets or ()), *(found.asset_checks or ())]
        if isinstance(each, dg.AssetsDefinition | dg.AssetSpec)
    ]
    watched = Watched.of([], assets, found.jobs or (), found.schedules or (), found.sensors or ())  # type: ignore[arg-type]
    keys = {key.to_user_string() for key in watched.assets}
    assert keys == {"bars", "bars_panel", "bars_daily_from_1m", "lake", "alerts"}
    names = {f"{key.asset_key.to_user_string()}:{key.name}" for key in watched.checks}
    assert names >= {*(f"bars:{name}" for name in CHECKS), "alerts:alerts_fresh", "bars_daily_from_1m:no_empty_day"}
    assert watched.jobs >= {"bars_job", "bars_checks_job", "alerts_check_job"}
    assert watched.sensors == {"quote_alerts", "lake_changes", "lost_runs"}
    assert watched.schedules >= {"bars_1d", "bars_1m", "bars_checks", "alerts_checks"}


def test_a_run_is_watched_by_its_job_its_assets_or_its_checks() -> None:
    bars, other = dg.AssetKey("bars"), dg.AssetKey("other")
    watched = Watched([], frozenset({"bars_job"}), frozenset({bars}))

    def run(job: str = "__ASSET_JOB", **more: object) -> dg.DagsterRun:
        return dg.DagsterRun(job_name=job, run_id="r", **more)  # type: ignore[arg-type]

    assert watched.has_run(run("bars_job"))
    assert watched.has_run(run(asset_selection=frozenset({bars, other})))
    assert watched.has_run(run(asset_check_selection=frozenset({dg.AssetCheckKey(bars, "fresh")})))
    assert watched.has_run(run("theirs", tags={"tv_etl/event_id": "e"}))
    assert not watched.has_run(run(asset_selection=frozenset({other})))
    assert not watched.has_run(run("theirs"))


def test_a_run_is_only_of_what_was_defined_if_all_that_it_names_was() -> None:
    bars, other = dg.AssetKey("bars"), dg.AssetKey("other")
    watched = Watched([], frozenset({"bars_job"}), frozenset({bars}))

    def run(job: str = "__ASSET_JOB", **more: object) -> dg.DagsterRun:
        return dg.DagsterRun(job_name=job, run_id="r", **more)  # type: ignore[arg-type]

    def checked(key: dg.AssetKey) -> frozenset[dg.AssetCheckKey]:
        return frozenset({dg.AssetCheckKey(key, "fresh")})

    assert watched.is_only(run("bars_job"))
    assert watched.is_only(run(asset_selection=frozenset({bars}), asset_check_selection=checked(bars)))
    assert watched.is_only(run(asset_check_selection=checked(bars)))
    assert not watched.is_only(run(asset_selection=frozenset({bars, other})))
    assert not watched.is_only(run(asset_selection=frozenset({bars}), asset_check_selection=checked(other)))
    assert not watched.is_only(run("bars_job", asset_selection=frozenset({other})))
    assert not watched.is_only(run("theirs", tags={"tv_etl/event_id": "e"}))
    assert not watched.is_only(run())
