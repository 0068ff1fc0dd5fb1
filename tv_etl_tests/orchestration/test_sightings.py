"""Verdicts, ticks and records as they tell of troubles."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster_shared.error import SerializableErrorInfo

from tv_etl.alerts.troubles import TOPICS, Sighting, Subject, Topic, Trouble, fold
from tv_etl.lake.record import Window
from tv_etl.lake.store import BarStore
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.orchestration.check_specs import CHECKS
from tv_etl.orchestration.sightings import check_sightings, departed, lake_sightings, loss_sighting, tick_sightings
from tv_etl.orchestration.watched import Watched
from tv_etl.watchlist.model import Group
from tv_etl_tests.lake_runs import FIRST, QUIET, minute_rows, replay, run
from tv_etl_tests.orchestration.test_checks import DAY, OPEN, WHOLE

NOW = 1_790_000_000.0
BARS = dg.AssetKey("bars")
GROUP = Group(symbols=["NASDAQ:AAPL", "NASDAQ:SPLT"], intervals=["1m"])
AAPL = "1m|NASDAQ:AAPL"
WATCHED = Watched([GROUP], checks=frozenset(dg.AssetCheckKey(BARS, name) for name in CHECKS))


# --- verdicts


def report(instance: dg.DagsterInstance, passed: bool, check: str = "fresh", **more: Any) -> None:
    """A run that judges a partition."""
    fields = {"partition": AAPL, "description": f"{check} says so"} | more

    @dg.op
    def judge(context: dg.OpExecutionContext) -> None:
        evaluation = dg.AssetCheckEvaluation(asset_key=BARS, check_name=check, passed=passed, **fields)
        context.log_event(evaluation)  # type: ignore[arg-type]

    @dg.job
    def judging() -> None:
        judge()

    assert judging.execute_in_process(instance=instance, run_config=QUIET).success


class Checks:
    """Reads on from where it was, and folds."""

    def __init__(self, instance: dg.DagsterInstance, topics: tuple[Topic, ...] = TOPICS) -> None:
        self.instance, self.topics, self.mark = instance, topics, ""
        self.open: Mapping[Subject, Trouble] = {}
        self.last, self.now = 0, time.time()

    def told(self) -> list[tuple[str, str, str]]:
        self.now += 60.0
        found, self.mark = check_sightings(self.instance, WATCHED, self.topics, self.mark, self.now)
        self.open, self.last, turns = fold(self.open, self.last, found)
        return [(each.turning, each.subject.scope, each.reason) for each in turns]


def test_what_is_bad_at_the_first_look_is_told_and_what_is_good_is_not(instance: dg.DagsterInstance) -> None:
    report(instance, False)
    report(instance, False, "gap_free", partition="1m|NASDAQ:SPLT")
    report(instance, True, "gap_free")
    checks = Checks(instance)
    assert sorted(checks.told()) == [
        ("begins", "bars: fresh", "fresh says so"),
        ("begins", "bars: gap_free", "gap_free says so"),
    ]
    assert checks.told() == []


def test_a_verdict_is_told_when_it_turns_and_when_it_gets_worse(instance: dg.DagsterInstance) -> None:
    checks, warn, error = Checks(instance), dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
    seen = []
    for passed, severity in [(True, warn), (False, warn), (False, warn), (False, error), (True, warn), (False, warn)]:
        report(instance, passed, severity=severity)
        seen.append([turning for turning, *_ in checks.told()])
    assert seen == [[], ["begins"], [], ["changes"], ["ends"], ["begins"]]


def test_a_verdict_that_turned_between_two_looks_is_told_too(instance: dg.DagsterInstance) -> None:
    checks = Checks(instance)
    report(instance, True)
    assert checks.told() == []
    for passed in (False, True, False):
        report(instance, passed)
    assert [turning for turning, *_ in checks.told()] == ["begins", "ends", "begins"]
    checks.now += 1_000.0
    assert checks.told() == [] == checks.told()
    assert json.loads(checks.mark)["bars: fresh"] == [4, {}], "nothing is kept of what is old"


def test_a_verdict_that_was_planned_before_others_is_found(instance: dg.DagsterInstance) -> None:
    """As in the daily run of the checks, which plans all of them, while other runs go on."""
    planned = dg.AssetCheckKey(BARS, "fresh")
    checks = Checks(instance)
    with planned_run(instance, planned) as judge:
        assert checks.told() == []
        report(instance, False, partition="1m|NASDAQ:SPLT")
        assert [turning for turning, *_ in checks.told()] == ["begins"]
        checks.now += 1_000.0
        assert checks.told() == []
        judge(False)
    assert [(turning, reason) for turning, _, reason in checks.told()] == [("begins", "judged at last")]
    assert checks.told() == []


@contextmanager
def planned_run(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> Iterator[Callable[[bool], None]]:
    """A run that has planned to judge a partition, and does so when it is told to."""
    run_id = make_new_run_id()
    plan = AssetCheckEvaluationPlanned(
        asset_key=key.asset_key, check_name=key.name, partitions_subset=DefaultPartitionsSubset({AAPL})
    )
    instance.event_log_storage.store_event(_event(run_id, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, plan))

    def judge(passed: bool) -> None:
        found = dg.AssetCheckEvaluation(
            asset_key=key.asset_key, check_name=key.name, passed=passed, partition=AAPL, description="judged at last"
        )
        instance.event_log_storage.store_event(_event(run_id, DagsterEventType.ASSET_CHECK_EVALUATION, found))

    yield judge


def _event(run_id: str, kind: DagsterEventType, data: Any) -> EventLogEntry:
    event = DagsterEvent(kind.value, "job", event_specific_data=data)
    return EventLogEntry(  # type: ignore[no-untyped-call]
        None, "debug", "", run_id, time.time(), dagster_event=event
    )


def test_what_the_record_tells_is_told_once_and_what_asks_for_nothing_not_at_all(instance: dg.DagsterInstance) -> None:
    for check in ("loss_deadline", "seamless", "revisions"):
        report(instance, False, check)
    assert Checks(instance).told() == []
    alone = Checks(instance, ("checks",)).told()
    assert [scope for _, scope, _ in alone] == ["bars: loss_deadline", "bars: seamless"]


def test_a_new_instance_is_read_from_its_beginning(instance: dg.DagsterInstance) -> None:
    checks = Checks(instance)
    for _ in range(5):
        report(instance, True)
    checks.told()
    with dg.DagsterInstance.local_temp() as other:
        checks.instance = other
        report(other, False)
        assert [turning for turning, *_ in checks.told()] == ["begins"]


# --- ticks


def origin(location: str = "here") -> RemoteRepositoryOrigin:
    target = LoadableTargetOrigin(module_name="m")
    return RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name=location), "__repository__")


def state_of(instance: dg.DagsterInstance, name: str, location: str = "here") -> InstigatorState:
    instigator = RemoteInstigatorOrigin(origin(location), name)
    found = InstigatorState(instigator, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    instance.add_instigator_state(found)
    return found


def tick(
    instance: dg.DagsterInstance, state: InstigatorState, at: float, status: TickStatus, error: str = "ValueError"
) -> None:
    cause = SerializableErrorInfo(f"{error}: no answer\n", [], error)
    wrapped = SerializableErrorInfo("dagster._core.errors.SensorExecutionError: x", [], "SensorExecutionError", cause)
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=InstigatorType.SENSOR,
            status=status,
            timestamp=at,
            selector_id=state.selector_id,
            error=wrapped if status is TickStatus.FAILURE else None,
        )
    )


SENSORS = replace(WATCHED, sensors=frozenset({"quote_alerts"}), repository="__repository__", location="here")


def test_a_sensor_that_errs_is_told_with_its_error_and_when_it_works_again(instance: dg.DagsterInstance) -> None:
    state, other = state_of(instance, "quote_alerts"), state_of(instance, "quote_alerts", "elsewhere")
    tick(instance, state, NOW - 90, TickStatus.FAILURE)
    tick(instance, state, NOW - 60, TickStatus.SKIPPED)
    seen, mark = tick_sightings(instance, SENSORS, "", NOW)
    assert [each.is_bad for each in seen] == [False], "what was before is told nobody"
    tick(instance, state, NOW + 30, TickStatus.FAILURE)
    tick(instance, other, NOW + 30, TickStatus.FAILURE)
    [_, seen_bad], mark = tick_sightings(instance, SENSORS, mark, NOW + 60)
    subject = Subject("sensors", "sensor quote_alerts")
    page = "locations/__repository__@here/sensors/quote_alerts"
    assert seen_bad == Sighting(subject, True, NOW + 30, "ValueError: no answer", page=page)
    tick(instance, state, NOW + 60, TickStatus.FAILURE)
    tick(instance, state, NOW + 90, TickStatus.SKIPPED)
    tick(instance, state, NOW + 120, TickStatus.STARTED)
    found, mark = tick_sightings(instance, SENSORS, mark, NOW + 120)
    assert [turn.turning for turn in fold({}, 0, [seen_bad, *found]).turns] == ["begins", "ends"]
    again, _ = tick_sightings(instance, SENSORS, mark, NOW + 150)
    assert [(each.at, each.is_bad) for each in again] == [(NOW + 90, False)]


def test_a_sensor_that_errs_at_the_first_look_is_told_unless_it_was_stopped(instance: dg.DagsterInstance) -> None:
    state = state_of(instance, "quote_alerts")
    for at in (NOW - 60, NOW - 30):
        tick(instance, state, at, TickStatus.FAILURE)
    seen, _ = tick_sightings(instance, SENSORS, "", NOW)
    assert [(each.at, each.is_bad) for each in seen] == [(NOW - 30, True)]
    instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    assert tick_sightings(instance, SENSORS, "", NOW)[0] == []


def test_rules_that_cannot_be_judged_are_told_as_that(instance: dg.DagsterInstance) -> None:
    state = state_of(instance, "quote_alerts")
    _, mark = tick_sightings(instance, SENSORS, "", NOW)
    tick(instance, state, NOW + 30, TickStatus.FAILURE, "BlindError")
    assert tick_sightings(instance, SENSORS, mark, NOW + 60)[0] == []


# --- the lake


def test_a_loss_is_told_a_day_ahead_and_again_when_it_happens() -> None:
    record = replace(WHOLE, window=Window(5_000, OPEN - 20 * DAY))
    deadline = loss_deadline(record)
    before, near = loss_sighting(GROUP, record, deadline - 90_000), loss_sighting(GROUP, record, deadline - 80_000)
    assert (before.is_bad, near.is_bad, near.group) == (False, True, "bars")
    assert near.reason.startswith("the next one is lost at 2026-12-") and near.page.endswith(
        "partition=1m%7CNASDAQ%3AAAPL"
    )
    lost = replace(record, window=Window(5_000, OPEN + 9 * DAY))
    gone = loss_sighting(GROUP, lost, OPEN + 9 * DAY + 3_600)
    assert gone.reason.startswith("the server has none from 2026-11-18 21:00 UTC on any more")
    assert [
        each.turning for each in fold({}, 0, [near, replace(near, at=near.at + 1), replace(gone, at=near.at + 2)]).turns
    ] == [
        "begins",
        "changes",
    ]


@pytest.mark.parametrize(
    ("schedules", "is_on", "advice"),
    [
        ({}, False, "switch on schedule bars_1m"),
        ({}, None, "switch on schedule bars_1m"),
        ({}, True, "schedule bars_1m is on: look at its ticks and runs"),
        ({"1m": None}, None, "no schedule of bars fetches 1m: give it one in the watchlist"),
    ],
)
def test_a_loss_of_what_nothing_fetches_is_told_with_what_to_do(
    schedules: dict[str, str | None], is_on: bool | None, advice: str
) -> None:
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1m"], schedules=schedules)
    record = replace(WHOLE, window=Window(5_000, OPEN - 20 * DAY))
    near = loss_sighting(group, record, loss_deadline(record) - 80_000, lambda name: is_on)
    assert near.reason.endswith(
        f"unless it is fetched before; nothing has fetched it since 2026-11-18 21:00Z; {advice}"
    )
    gone = loss_sighting(group, replace(record, window=Window(5_000, OPEN + 9 * DAY)), OPEN + 10 * DAY)
    assert "has none from" in gone.reason and "nothing has fetched it since" in gone.reason


def test_a_loss_of_what_was_asked_for_just_now_is_told_without() -> None:
    at = OPEN + 9 * DAY
    record = replace(WHOLE, window=Window(5_000, at - 5 * DAY), asked=(*WHOLE.asked, (at - 5 * DAY, at)))
    assert loss_sighting(GROUP, record, at + 60).reason == "the server has none from 2026-11-18 21:00 UTC on any more"


def loss_deadline(record: object) -> float:
    from tv_etl.lake.coverage import Coverage

    found = Coverage(record, OPEN + DAY).loss_deadline()  # type: ignore[arg-type]
    assert found is not None
    return found.timestamp()


def test_a_window_of_hours_is_no_trouble_as_long_as_it_is_fetched() -> None:
    """Of 5,000 bars of 5 seconds the next one is always lost within a day."""
    from tv_etl.tradingview.series import Series

    record = replace(WHOLE, series=Series.of("NASDAQ:AAPL", "5s"), facts={}, window=None)
    record = replace(record, asked=((OPEN, OPEN + 390 * 60),), periods={})
    fetched = OPEN + 390 * 60
    assert not loss_sighting(GROUP, record, fetched + 60).is_bad
    assert loss_sighting(GROUP, record, fetched + timedelta(hours=4).total_seconds()).is_bad


def test_a_seam_is_told_until_it_is_resolved(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    rows, group, key = (
        minute_rows(9_000),
        Group(symbols=["NASDAQ:SPLT"], intervals=["1m"], initial_bars=300),
        "1m|NASDAQ:SPLT",
    )

    def fetch(count: int, **config: object) -> None:
        clock = MarketClock(FIRST + count * 60, speed=0)
        with serve_in_thread(replay(tmp_path / "market", rows, "1"), ServerOptions(clock=clock)) as server:
            run(instance, tmp_path / "lake", server.url, group, keys=[], only=[key], **config)

    def seen() -> Sighting:
        [found], problems = lake_sightings([group], instance, BarStore(tmp_path / "lake"), ["seams"], NOW)
        assert problems == []
        return found

    assert not seen().is_bad, "nothing is stored"
    fetch(400)
    assert not seen().is_bad
    fetch(8_000)  # a pause longer than the server's window
    bad = seen()
    assert (bad.subject, bad.is_bad) == (Subject("seams", "bars", key), True) and "before (" in bad.reason
    fetch(8_001, seam="accept")
    assert not seen().is_bad


def test_a_record_that_cannot_be_read_costs_the_others_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    store = BarStore(tmp_path / "lake")
    place = tmp_path / "lake" / ".tv_etl" / "1m" / "NASDAQ%3AAAPL"
    place.mkdir(parents=True)
    (place / "series.json").write_text("{", encoding="utf-8")
    found, problems = lake_sightings([GROUP], instance, store, ["losses"], NOW)
    assert len(found) + len(problems) == 2


# --- what is not watched any more


def test_what_is_not_collected_or_defined_any_more_is_no_trouble(instance: dg.DagsterInstance) -> None:
    watched = replace(SENSORS, assets=frozenset({BARS}))
    there = [
        Subject("runs", "bars", AAPL),
        Subject("runs", "bars"),
        Subject("runs", "job of_mine"),
        Subject("checks", "bars: fresh", AAPL),
        Subject("losses", "bars", AAPL),
        Subject("sensors", "sensor quote_alerts"),
    ]
    gone = [
        Subject("runs", "bars", "1m|NASDAQ:GONE"),
        Subject("checks", "bars: fresh", "1m|NASDAQ:GONE"),
        Subject("checks", "other: fresh", AAPL),
        Subject("seams", "other", AAPL),
        Subject("sensors", "sensor new_series"),
    ]
    # What belonged to a group under its former name, whatever it was.
    former = [Subject("runs", "prices", AAPL), Subject("runs", "prices")]
    seen = [Sighting(each, True, 1.0) for each in (*there, *gone)]
    seen += [Sighting(each, True, 1.0, group="prices") for each in former]
    seen += [Sighting(Subject("runs", "bars", "1m|NASDAQ:SPLT"), True, 1.0, group="bars")]
    troubles = fold({}, 0, seen).open
    assert [each.subject for each in departed(watched, instance, troubles)] == [*gone, *former]


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (Subject("runs", "bars", "1m|NASDAQ:GONE"), "not collected here any more"),
        (Subject("sensors", "sensor new_series"), "not defined any more"),
        (Subject("sensors", "sensor us_watchlist_mistakes"), "not needed any more: the watchlist is right again"),
    ],
)
def test_it_is_told_why_nothing_more_is_heard(instance: dg.DagsterInstance, subject: Subject, reason: str) -> None:
    troubles = fold({}, 0, [Sighting(subject, True, 1.0)]).open
    assert [each.reason for each in departed(SENSORS, instance, troubles)] == [reason]
