"""Delivery of alerts, at least once.

An alert counts as sent only when its target has accepted it; until then it waits in the store, which survives the death
of the process at any instant. A crash between the answer and its record sends an alert again, under the same id. A
target that fails is left alone for longer and longer, and one that has had what its service takes at once rests until
the service takes more, whatever else waits for it; nobody sleeps for that.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import httpx

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.deliveries import MAX_GROUP, Deliveries, Delivery
from tv_etl.alerts.messages import read_event
from tv_etl.alerts.targets.calls import CALL_DEADLINE_S, CONNECT_TIMEOUT_S, call, http_client, locate, quietly
from tv_etl.alerts.targets.target import FIRST_WAIT_S, Envelope, ReadyTarget, UnusableTarget, Verdict, failed
from tv_etl.tradingview.printable import described

DEAD_AFTER_S = 24 * 3600.0
_MAX_WAIT_S = 300.0


@dataclass(frozen=True)
class DeliveryReport:
    """What one call of `deliver` did, counted in alerts; `errors` name targets, never URLs."""

    sent: int = 0
    retried: int = 0
    dead: int = 0
    errors: tuple[str, ...] = ()


@dataclass
class _Tally:
    sent: int = 0
    retried: int = 0
    dead: int = 0
    errors: list[str] = field(default_factory=list)


def deliver(
    store: Deliveries,
    targets: Sequence[ReadyTarget | UnusableTarget],
    now: float,
    budget_s: float = 5.0,
    jitter: Callable[[], float] = random.random,
) -> DeliveryReport:
    """Send what is due to each target, all of them in parallel, and return within about `budget_s`.

    Retries are scheduled from `now`. What is not reached stays due. What a target refuses for good (410) is dead at
    once; any other failure is tried again, after 5 minutes at most, and dead after 24 hours. Safe to call where an
    event loop is running.
    """
    ends_at = time.monotonic() + budget_s
    by_key = {target.key: target for target in targets}
    tally = _Tally(dead=store.start_clock(now, tuple(by_key), DEAD_AFTER_S))
    due_keys = {delivery.target for delivery in store.pending(now)}
    due = [target for key, target in by_key.items() if key in due_keys]
    for unusable in (target for target in due if isinstance(target, UnusableTarget)):
        _give_up_old(store, unusable, now, tally)
    callable_ = [target for target in due if isinstance(target, ReadyTarget)]
    if callable_:
        courier = _Courier(store, now, ends_at, jitter, tally)
        # A thread of its own: asyncio.run is impossible inside a running loop. Daemon: a stuck one blocks nobody.
        thread = threading.Thread(target=courier.run, args=(callable_,), name="tv_etl-deliver", daemon=True)
        thread.start()
        thread.join(budget_s + 2.0)
        if courier.failure is not None:
            raise courier.failure
    return DeliveryReport(tally.sent, tally.retried, tally.dead, tuple(dict.fromkeys(tally.errors)))


def _give_up_old(store: Deliveries, target: UnusableTarget, now: float, tally: _Tally) -> None:
    waiting = [each for each in store.pending(now) if each.target == target.key]
    old = [each for each in waiting if now - (now if each.first_at is None else each.first_at) >= DEAD_AFTER_S]
    if old:
        store.mark_dead(old, now, f"{target.label}: {target.reason}")
        tally.dead += len(old)
    tally.errors.append(f"{target.label}: {target.reason}")


class _Courier:
    """Carries the due alerts of several targets, one call at a time for each."""

    def __init__(
        self, store: Deliveries, now: float, ends_at: float, jitter: Callable[[], float], tally: _Tally
    ) -> None:
        self._store = store
        self._now = now
        self._ends_at = ends_at
        self._jitter = jitter
        self._tally = tally
        self.failure: StoreError | None = None

    def run(self, targets: Sequence[ReadyTarget]) -> None:
        try:
            with quietly():
                asyncio.run(self._serve_all(targets))
        except StoreError as error:
            self.failure = error
        except Exception as error:  # a bug, but its text and its chain may hold the URL
            self.failure = StoreError(f"delivery was cut short by {type(error).__name__}")

    async def _serve_all(self, targets: Sequence[ReadyTarget]) -> None:
        try:
            client = http_client(len(targets))
        except ValueError as error:
            self._tally.errors.append(str(error))
            return
        async with client:
            await asyncio.gather(*(self._serve(client, one) for one in targets))

    async def _serve(self, client: httpx.AsyncClient, target: ReadyTarget) -> None:
        found = await locate(target, min(self._ends_at - time.monotonic(), CONNECT_TIMEOUT_S))
        limit, rest_s = target.spec.limit, 0.0
        messages = islice(self._messages(target), None if limit is None else limit.burst)
        for calls, group in enumerate(messages, 1):
            left_s = self._ends_at - time.monotonic()
            if left_s <= 0:
                break
            verdict = await self._call(client, target, found, group, min(left_s, CALL_DEADLINE_S))
            rest_s = max(limit.every_s * calls if limit is not None else 0.0, verdict.retry_after_s or 0.0)
            self._record(target, group, verdict)
            if verdict.retry_after_s or (not verdict.is_sent and not verdict.is_dead):
                break  # the next call would most likely fail as well, and the budget is short
        if rest_s:
            self._store.rest(target.key, self._now + rest_s)

    def _messages(self, target: ReadyTarget) -> Iterator[list[Delivery]]:
        """What is due, message by message; each is found once the one before is recorded."""
        is_grouped = target.spec.groups_events
        while True:
            taken = self._store.take_group(self._now, target.key, target.spec.group_above if is_grouped else MAX_GROUP)
            if not taken:
                return
            readable = [delivery for delivery in taken if delivery.is_readable]
            if len(readable) < len(taken):
                self._bury(target, [delivery for delivery in taken if not delivery.is_readable])
            # Grouped by what the target was before; each goes by itself now.
            yield from ([readable] if is_grouped else [[each] for each in readable]) if readable else []

    async def _call(
        self,
        client: httpx.AsyncClient,
        target: ReadyTarget,
        found: Sequence[str] | str,
        group: Sequence[Delivery],
        deadline_s: float,
    ) -> Verdict:
        events = [event for delivery in group if (event := read_event(delivery.body)) is not None]
        group_id = group[0].group_id if target.spec.groups_events else None
        envelope = Envelope(group_id or group[0].event_id, events, group_id is not None, self._now)
        try:
            return await call(client, target, found, envelope, deadline_s)
        except Exception as error:  # a bug in how one target is called is no reason to call no other
            return failed(target.secrets.redact(described(error)))

    def _bury(self, target: ReadyTarget, unreadable: Sequence[Delivery]) -> None:
        error = f"{target.label}: what the store holds is no alert: something else wrote or damaged it"
        self._store.mark_dead(unreadable, self._now, error)
        self._tally.errors.append(error)
        self._tally.dead += len(unreadable)

    def _record(self, target: ReadyTarget, group: Sequence[Delivery], verdict: Verdict) -> None:
        tally, error = self._tally, f"{target.label}: {verdict.error}"
        if verdict.error:
            tally.errors.append(error)
        if verdict.is_sent:
            self._store.mark_sent(group, self._now)
            tally.sent += len(group)
            return
        first = group[0]
        if verdict.is_dead or self._now - (self._now if first.first_at is None else first.first_at) >= DEAD_AFTER_S:
            self._store.mark_dead(group, self._now, error)
            tally.dead += len(group)
            return
        tally.retried += len(group)
        failures = self._store.health(target.key).failures
        until = self._now + (self._wait_s(failures) if verdict.retry_after_s is None else verdict.retry_after_s)
        self._store.hold(target.key, until, self._now, error)
        self._store.mark_retry(group, self._now + self._wait_s(first.attempts), error)

    def _wait_s(self, failures: int) -> float:
        longest = min(_MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 10))
        return longest * (0.5 + 0.5 * self._jitter())
