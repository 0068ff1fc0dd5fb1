"""The dead man's switch is called beside the last work of a tick, which it neither holds up nor fails.

The store knows when it was last reached, and how often in a row it was not.
"""

import asyncio
import threading
import time
from collections.abc import Mapping

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.calls import ping
from tv_etl.alerts.targets.ping import ReadyPing

PING_S = 3.0
_PINGED_AT, _FAILURES = "pinged_at", "ping_failures"


class Pinging:
    """One call, under way."""

    def __init__(self, target: ReadyPing, failures: int, now: float) -> None:
        self._target, self._failures, self._now = target, failures, now
        self._error = "no answer in time"
        self._ends_at = time.monotonic() + PING_S
        # Daemon: one that is stuck blocks nobody.
        self._thread = threading.Thread(target=self._run, name="tv_etl-ping", daemon=True)

    @classmethod
    def begin(cls, target: ReadyPing, flags: Mapping[str, str], now: float) -> "Pinging | None":
        """Call it, if that is due; `flags` are those of the store."""
        pinged_at = flags.get(_PINGED_AT)
        if not target.is_due(float(pinged_at) if pinged_at else None, now):
            return None
        pinging = cls(target, int(flags.get(_FAILURES) or 0), now)
        pinging._thread.start()
        return pinging

    def end(self, store: AlertStore) -> str:
        """What is to be said of it, once it has been noted; empty where it was reached."""
        self._thread.join(max(0.0, self._ends_at - time.monotonic()))
        error, failures = self._error, self._failures + 1
        reached = {_PINGED_AT: str(self._now), _FAILURES: "0"}
        try:
            store.note({_FAILURES: str(failures)} if error else reached)
        except StoreError as unwritten:
            return f"the ping was not noted: {unwritten}"
        if not error:
            return ""
        return f"the ping failed {f'{failures:,} times in a row' if failures > 1 else 'once'}: {error}"

    def _run(self) -> None:
        try:
            self._error = asyncio.run(ping(self._target, PING_S))
        except Exception as error:  # its text may quote the address
            self._error = f"the ping was cut short by {type(error).__name__}"
