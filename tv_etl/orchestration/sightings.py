"""What an instance and a lake tell of troubles, beside the runs: verdicts, ticks that err, loss deadlines, seams.

What is bad at the first look is seen as well; of what was before, nothing.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg

from tv_etl.alerts.troubles import Seen, Sighting, Subject, Topic, Trouble
from tv_etl.orchestration.checks import NEAR_LOSS, REVISIONS
from tv_etl.orchestration.dagster_internals import partition_filter
from tv_etl.orchestration.loaded_watchlist import SENSOR as MISTAKES_SENSOR
from tv_etl.orchestration.partitions import partition_key, symbols_of
from tv_etl.orchestration.run_sightings import FRESH_S, error_reason
from tv_etl.orchestration.watched import Watched
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Group

if TYPE_CHECKING:
    from tv_etl.lake.record import SeriesRecord
    from tv_etl.lake.store import BarStore

_MAX_REASON = 1_000
_PLANNED, _SUCCEEDED, _FAILED = "PLANNED", "SUCCEEDED", "FAILED"
# What was planned so long ago is not judged any more.
_PLANNED_S = 86_400.0
_PAGE, _MOST_ROWS = 500, 20_000
# What the topics of their own tell, by the record.
_OF_TOPIC: dict[str, Topic] = {"loss_deadline": "losses", "seamless": "seams"}
# So many of a sensor's ticks are read at once, the newest; between two looks there are a few.
_TICKS = 100
_OVER = ("SUCCESS", "SKIPPED", "FAILURE")
# What an evaluation that judges no rule raises: told as `blind`, once that has lasted.
_TOLD_AS_BLIND = "BlindError"


# --- verdicts


def check_sightings(
    instance: dg.DagsterInstance,
    watched: Watched,
    topics: Collection[Topic | None],
    mark: str,
    now: float,
) -> tuple[list[Sighting], str]:
    """The verdicts on all partitions since the mark, and the new mark; without one, the latest of those that fail.

    The check `revisions` is left out: it asks for nothing, and ends with the next bars.
    """
    places: dict[str, Any] = json.loads(mark) if mark else {}
    found, after = list[Sighting](), dict[str, Any]()
    for key in sorted(watched.checks):
        if key.name == REVISIONS or _OF_TOPIC.get(key.name) in topics:
            continue
        name = _scope_of(key)
        seen = Seen(*places[name]) if name in places else None
        newest = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        if seen is not None and (not newest or newest[0].id < seen.newest):
            seen = None  # another instance
        rows = _executions(instance, key, 0 if seen is None else seen.after, now)
        over = [row for row in rows if row.status.value in (_SUCCEEDED, _FAILED)]
        # A row that was planned is written over once it is judged.
        planned = [row for row in rows if row.status.value == _PLANNED and now - row.create_timestamp < _PLANNED_S]
        if seen is None:
            found += _failing(instance, key, watched)
            known = Seen(min((row.id for row in rows), default=1) - 1, {})
        else:
            found += [_verdict(key, row, watched) for row in over if seen.is_new(row.id, row.run_id)]
            known = seen
        first_planned = min((row.id for row in planned), default=None)
        after[name] = known.with_read([(row.id, row.run_id) for row in over], now, FRESH_S, first_planned)
    return found, json.dumps(after)


def _scope_of(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"


def _executions(instance: dg.DagsterInstance, key: dg.AssetCheckKey, after: int, now: float) -> list[Any]:
    """The rows of a check after a number; at a first look those of which some may still be judged."""
    found: list[Any] = []
    cursor: int | None = None
    while len(found) < _MOST_ROWS:
        page = instance.event_log_storage.get_asset_check_execution_history(key, limit=_PAGE, cursor=cursor)
        kept = [row for row in page if row.id > after and (after or now - row.create_timestamp < _PLANNED_S)]
        found += kept
        if len(kept) < _PAGE:
            break
        cursor = page[-1].id
    return found


def _failing(instance: dg.DagsterInstance, key: dg.AssetCheckKey, watched: Watched) -> Iterator[Sighting]:
    """What fails now, by the latest verdict on each partition."""
    for info in instance.event_log_storage.get_asset_check_partition_info([key]):
        if info.latest_execution_status.value != _FAILED:
            continue
        history = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, partition_filter=partition_filter(info.partition_key or "")
        )
        for row in history:
            yield _verdict(key, row, watched)


def _verdict(key: dg.AssetCheckKey, row: Any, watched: Watched) -> Sighting:
    subject, at = Subject("checks", _scope_of(key), row.partition or ""), row.event.timestamp
    if row.status.value != _FAILED:
        return Sighting(subject, False, at)
    evaluation = row.event.dagster_event.event_specific_data
    asset = key.asset_key.to_user_string()
    return Sighting(
        subject,
        True,
        at,
        printable(evaluation.description or "", _MAX_REASON),
        # Worded anew with each evaluation: only that it has become an error is news.
        evaluation.severity.value,
        f"assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
        asset if asset in {each.name for each in watched.groups} else "",
    )


# --- ticks


def tick_sightings(instance: dg.DagsterInstance, watched: Watched, mark: str, now: float) -> tuple[list[Sighting], str]:
    """How the ticks of sensors and schedules went since the mark, and the new mark.

    Of one that has no mark yet it is how the last one went, if it is running.
    """
    places: dict[str, float] = json.loads(mark) if mark else {}
    found, after = list[Sighting](), dict[str, float]()
    for state in instance.all_instigator_state():
        if not watched.has_instigator(state):
            continue
        kind = "schedule" if state.instigator_type.value == "SCHEDULE" else "sensor"
        since = places.get(state.selector_id)
        # The last one once more: a schedule's tick that failed may be tried again.
        after_s = None if since is None else since - 0.001
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after_s, limit=_TICKS)
        over = sorted((each for each in ticks if each.status.value in _OVER), key=lambda each: each.timestamp)
        if since is None:
            since, over = 0.0, over[-1:] if state.is_running else []
        for tick in over:
            reason = error_reason(tick.error) if tick.error is not None else "it failed"
            since = max(since, tick.timestamp)
            if reason.startswith(_TOLD_AS_BLIND):
                continue
            is_bad = tick.status.value == "FAILURE"
            subject = Subject("sensors", f"{kind} {state.instigator_name}")
            page = _instigator_page(watched, kind, state.instigator_name)
            found.append(Sighting(subject, is_bad, tick.timestamp, reason if is_bad else "", page=page))
        # Nothing older is looked at, though it may have had no tick yet.
        after[state.selector_id] = since or now
    return found, json.dumps(after)


def _instigator_page(watched: Watched, kind: str, name: str) -> str:
    if not watched.location:
        return ""
    return f"locations/{watched.repository}@{watched.location}/{kind}s/{name}"


# --- the lake


def lake_sightings(
    groups: Sequence[Group],
    instance: dg.DagsterInstance,
    store: "BarStore",
    topics: Iterable[Topic],
    now: float,
    is_on: Callable[[str], bool | None] = lambda schedule: None,
) -> tuple[list[Sighting], list[str]]:
    """What the record of each series says of bars about to be lost, and of seams; and which records cannot be read.

    `is_on` tells of a schedule whether it is on.
    """
    found, problems, wanted = list[Sighting](), list[str](), set(topics)
    for group in groups:
        for record in _records(group, instance, store, problems):
            if "losses" in wanted:
                found.append(loss_sighting(group, record, now, is_on))
            if "seams" in wanted:
                found.append(_seam_sighting(group, record, now))
    return found, problems


def loss_sighting(
    group: Group,
    record: "SeriesRecord",
    now: float,
    is_on: Callable[[str], bool | None] = lambda schedule: None,
) -> Sighting:
    """Whether bars of a series are lost, or will be within a day; half of what the server has, where that is less.

    If nothing fetches it, what to do is told as well; `is_on` tells of a schedule whether it is on.
    """
    from tv_etl.lake.coverage import Coverage
    from tv_etl.orchestration.unfetched import why_unfetched
    from tv_etl.tradingview.moments import utc
    from tv_etl.tradingview.series import ASSUMED_WINDOW_BARS

    coverage = Coverage(record, now)
    lost, deadline = coverage.lost(), coverage.loss_deadline()
    bars = record.window.bars if record.window is not None else ASSUMED_WINDOW_BARS
    near_s = min(NEAR_LOSS.total_seconds(), bars * record.series.interval.seconds / 2)
    reason = sign = ""
    if lost.spans:
        since = f"{utc(lost.spans[0][0]):%Y-%m-%d %H:%M} UTC"
        is_gone = lost.is_certain
        reason = (
            f"the server has none from {since} on any more" if is_gone else f"they leave its window from {since} on"
        )
        sign = "gone" if is_gone else "leaving"
    elif deadline is not None and deadline.timestamp() - now < near_s:
        reason, sign = f"the next one is lost at {deadline:%Y-%m-%d %H:%M} UTC unless it is fetched before", "near"
    why = why_unfetched(group, coverage, is_on) if reason else ""
    reason += f"; {why}" if why else ""
    return _of_series(group, record, "losses", now, reason, sign)


def _seam_sighting(group: Group, record: "SeriesRecord", now: float) -> Sighting:
    seam = record.open_seam
    reason = "" if seam is None else printable(f"{seam}; {seam.reason}", _MAX_REASON)
    return _of_series(group, record, "seams", now, reason, "" if seam is None else str(seam.at))


def _of_series(group: Group, record: "SeriesRecord", topic: Topic, now: float, reason: str, sign: str) -> Sighting:
    key = partition_key(record.series)
    page = f"assets/{group.asset_name}?view=partitions&partition={quote(key, safe='')}"
    return Sighting(Subject(topic, group.asset_name, key), bool(reason), now, reason, sign, page, group.name)


def _records(
    group: Group, instance: dg.DagsterInstance, store: "BarStore", problems: list[str]
) -> "Iterator[SeriesRecord]":
    from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
    from tv_etl.lake.snapshot import StoredSeries

    def look(each: Series) -> "SeriesRecord | Exception":
        try:
            return store.look(each, StoredSeries.record, lists=False)
        except Exception as error:  # whatever it is, it is this series' alone
            return error

    series = [Series.of(symbol, interval) for interval in group.intervals for symbol in symbols_of(group, instance)]
    for each, found in zip(series, overlapped(look, series, at_once=LOOKS_AT_ONCE), strict=True):
        if isinstance(found, Exception):
            problems.append(f"{partition_key(each)}: {type(found).__name__}: {printable(str(found))}")
        else:
            yield found


# --- what is not watched any more


def departed(watched: Watched, instance: dg.DagsterInstance, open_now: Mapping[Subject, Trouble]) -> list[Sighting]:
    """The end of troubles of which nothing more is heard: what they are of is not collected or defined any more."""
    keys = {
        group.asset_name: {
            partition_key(Series.of(symbol, interval))
            for symbol in symbols_of(group, instance)
            for interval in group.intervals
        }
        for group in watched.groups
        if any(subject.name for subject in open_now)
    }
    checks = {f"{key.asset_key.to_user_string()}: {key.name}" for key in watched.checks}
    groups = {"", *(group.name for group in watched.groups)}
    instigators = {f"sensor {name}" for name in watched.sensors} | {f"schedule {name}" for name in watched.schedules}

    def is_there(subject: Subject, trouble: Trouble) -> bool:
        if subject.topic == "sensors":
            return subject.scope in instigators
        if subject.topic == "runs":  # of jobs and assets of others as well, which alerts may start
            return trouble.group in groups and (subject.scope not in keys or _has_series(subject, keys[subject.scope]))
        if subject.topic == "checks":
            return subject.scope in checks and _has_series(subject, keys.get(subject.scope.partition(": ")[0]))
        return subject.scope in keys and _has_series(subject, keys[subject.scope])

    return [
        Sighting(subject, False, trouble.at, _why_departed(subject))
        for subject, trouble in open_now.items()
        if not is_there(subject, trouble)
    ]


def _has_series(subject: Subject, keys: Collection[str] | None) -> bool:
    return not subject.name or keys is None or subject.name in keys


def _why_departed(subject: Subject) -> str:
    if subject.topic != "sensors":
        return "not collected here any more"
    if subject.scope.endswith(MISTAKES_SENSOR):
        return "not needed any more: the watchlist is right again"
    return "not defined any more"
