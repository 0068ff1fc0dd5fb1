"""Alerts by hand: what was found, what was given up, what is muted, and a test of a target."""

import asyncio
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from tv_etl.alerts.database import LAKE_DIRECTORY
from tv_etl.alerts.deliveries import DeadLetter
from tv_etl.alerts.events import Event
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.mutes import HandMute
from tv_etl.alerts.notices import Routing, notices
from tv_etl.alerts.options import read_duration
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.stored_events import StoredEvent
from tv_etl.alerts.targets.calls import call_once
from tv_etl.alerts.targets.target import Envelope, ReadyTarget, TargetSpec, UnusableTarget, Verdict, ready
from tv_etl.alerts.troubles import Sighting, Subject, Topic, fold
from tv_etl.lake.storage.directory import local_directory
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.printable import printable
from tv_etl.watchlist.model import Group, Watchlist


class AlertsError(Exception):
    """What was asked for cannot be done."""


class Tried(NamedTuple):
    """What was sent to a target, without its secrets, and what became of it."""

    label: str
    sent: str
    verdict: Verdict


def open_store(lake: str, environment: Mapping[str, str]) -> AlertStore:
    """The store of a lake's alerts, as the sensor uses it. Raises AlertsError where there is none, and StoreError."""
    url = environment.get("TV_ETL_ALERTS_URL")
    if url:
        return AlertStore(url)
    directory = local_directory(lake)
    state = environment.get("TV_ETL_STATE") or ("tv_etl_state" if directory is None else directory / LAKE_DIRECTORY)
    path = Path(state) / "alerts.sqlite"
    if not path.exists():
        raise AlertsError(f"{path}: there is no store of alerts; TV_ETL_STATE and TV_ETL_ALERTS_URL say where one is")
    return AlertStore(path)


def events_table(events: Iterable[StoredEvent]) -> Table:
    """One row per event."""
    rows = [
        (
            f"{utc(each.detected_at):%Y-%m-%d %H:%M:%S}",
            str(each.body.get("severity", "")),
            each.body["rule"],
            each.body["text"],
            _delivered(each),
            each.event_id,
        )
        for each in events
    ]
    return _table(("found at (UTC)", "severity", "rule", "what", "delivered to", "event"), rows)


def letters_table(letters: Iterable[DeadLetter]) -> Table:
    """One row per delivery that was given up."""
    rows = [(each.target, each.rule, each.text, each.error, each.event_id) for each in letters]
    return _table(("target", "rule", "what", "why", "event"), rows)


def seconds_of(text: str) -> int:
    """The seconds of a duration such as 30m. Raises AlertsError."""
    try:
        return read_duration(0 if text == "0" else text)
    except ValueError as error:
        raise AlertsError(f"--for: {error}") from None


def mute(lake: str, environment: Mapping[str, str], rule: str, symbol: str, seconds: int) -> list[str]:
    """Mute a rule or one of its symbols ("" for all) for so long, 0 to end that; what to say of it.

    Raises as `open_store`, and ByHandError.
    """
    store, now = open_store(lake, environment), time.time()
    if seconds:
        return [mute_line(store.mute(rule, symbol, seconds, now))]
    ended = store.unmute(rule, symbol, now)
    return [f"{_name(each)}: no longer muted" for each in ended] or [f"{rule}: was not muted by hand"]


def acknowledge(lake: str, environment: Mapping[str, str], event: str) -> list[str]:
    """Acknowledge an alert; what to say of it. Raises as `open_store`, and ByHandError."""
    found = open_store(lake, environment).acknowledge(event, time.time())
    since = "acknowledged" if found.is_new else f"acknowledged since {_moment(found.at)}"
    return [printable(f"{found.event_id}: {since}: {found.text}")]


def mute_line(mute: HandMute) -> str:
    """What is muted by hand, and until when."""
    kept_back = f"; {mute.kept_back:,} alerts kept back" if mute.kept_back else ""
    return printable(f"{_name(mute)}: muted until {_moment(mute.until)}, by hand{kept_back}")


def mute_lines(store: AlertStore, now: float) -> list[str]:
    """What is muted now, by hand and by the cap."""
    by_cap = [
        f"{rule}: muted until {_moment(each.until)}, as it fired too often; {each.kept_back:,} alerts kept back"
        for rule, each in sorted(store.load().mutes.items())
        if each.until > now
    ]
    return [*(mute_line(each) for each in store.hand_mutes() if each.is_on(now)), *by_cap]


def _name(mute: HandMute) -> str:
    return f"{mute.rule} for {mute.symbol}" if mute.symbol else mute.rule


def _moment(at: float) -> str:
    return f"{utc(at):%Y-%m-%d %H:%M} UTC"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(text)) for text in row))
    return table


def _delivered(event: StoredEvent) -> str:
    if event.body.get("is_muted"):
        return "muted"
    counts = {
        state: sum(each.state == state for each in event.deliveries) for state in ("delivered", "pending", "dead")
    }
    words = {"delivered": "", "pending": " waiting", "dead": " given up"}
    told = [f"{count}{words[state]}" for state, count in counts.items() if count] or ["nobody"]
    return ", ".join([*told, *(["acknowledged"] if event.acked_at is not None else [])])


def find_target(targets: Sequence[TargetSpec], name: str) -> TargetSpec:
    """The target that is called so. Raises AlertsError, which names those that there are."""
    for each in targets:
        if each.called == name:
            return each
    known = ", ".join(each.called for each in targets)
    raise AlertsError(f"no target is called {name!r}; {f'there are {known}' if known else 'the watchlist has none'}")


def send_test(spec: TargetSpec, environment: Mapping[str, str]) -> Tried:
    """Send a test to a target, once. Raises AlertsError for one that cannot be called as it is configured."""
    target = ready(spec, environment)
    if isinstance(target, UnusableTarget):
        raise AlertsError(f"{target.label}: {target.reason}")
    text = f"This is a test of the target {spec.called}, sent by tv-etl alerts send-test."
    event = Event(uuid.uuid4().hex, kind="test", text=text, severity="info", detected_at=time.time())
    return _send(target, event)


def send_notices(watchlist: Watchlist, name: str | None, environment: Mapping[str, str]) -> Iterator[Tried]:
    """Send what a failure looks like, and its end, to the targets that are told of it; or only to one of them.

    Raises AlertsError where there is none.
    """
    notify, targets = watchlist.notify, watchlist.alerts.all_targets
    if notify is None:
        raise AlertsError("the watchlist has no notify: nobody is told when collecting fails")
    routing = Routing(notify.severities, notify.named(targets), notify.ui)
    events = [alert.event for alert in _example(watchlist.groups[0], next(iter(notify.severities)), routing)]
    told = [each for each in targets if each.key not in routing.not_to(events[0], targets)]
    if name is not None and (wanted := find_target(targets, name)) not in told:
        raise AlertsError(f"{wanted.called} is told nothing of it: by notify.targets, or its own filters")
    if not told:
        raise AlertsError("no target is told of it: by notify.targets, or their own filters")
    for spec in told if name is None else [find_target(targets, name)]:
        target = ready(spec, environment)
        if isinstance(target, UnusableTarget):
            raise AlertsError(f"{target.label}: {target.reason}")
        # As the courier does: where a service takes no two messages at once, they are one.
        is_one = spec.groups_events and spec.limit is not None and spec.limit.burst < len(events)
        for part in [events] if is_one else [[event] for event in events]:
            yield _send(target, *part)


def _example(group: Group, topic: Topic, routing: Routing) -> list[Alert]:
    symbol = next(iter(group.symbols), "NASDAQ:AAPL")
    subject = Subject(topic, group.name, f"{group.intervals[0]}|{symbol}")
    reason, page = "this is a test, sent by tv-etl alerts send-test", f"assets/{group.name}"
    seen = [Sighting(subject, True, 0.0, reason, "", page, group.name), Sighting(subject, False, 1.0)]
    return notices(fold({}, time.time_ns(), seen).turns, routing, time.time())


def _send(target: ReadyTarget, *events: Event) -> Tried:
    spec, envelope = target.spec, Envelope(events[0].event_id, events, len(events) > 1, time.time())
    sent = target.secrets.redact(spec.shown(target.secrets, envelope))
    try:
        return Tried(target.label, sent, asyncio.run(call_once(target, envelope)))
    except ValueError as error:
        raise AlertsError(str(error)) from None
