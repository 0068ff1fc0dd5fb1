"""One bar replay: a moment of the past up to which the charts that name it know their bars. Sans I/O.

The methods and their answers are PROTOCOL.md's §10, which no recording covers: replay_ok comes first, replay_point has
the open of the newest bar, replay_data_end says that there is no later one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tv_etl.market_server.market import BarSource
from tv_etl.market_server.outbox import Outbox, Packet
from tv_etl.market_server.parameters import check_parameters
from tv_etl.market_server.ranges import InvalidParameters, parse_resolution
from tv_etl.market_server.sessions import DAY_S, Integers
from tv_etl.market_server.world import World
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.protocol import encode_message
from tv_etl.tradingview.symbols import decode_spec

# The next bars are looked for this far, before all of the time until now is.
_NEAR_S = 7 * DAY_S


class ReplaySession:
    """The server's side of one `rs_...`. `moment` is what its charts take for now, UTC seconds."""

    def __init__(self, session: str, world: World, outbox: Outbox) -> None:
        self.id = session
        self.moment = world.clock.now()
        self._world = world
        self._outbox = outbox
        self._source: BarSource | None = None
        self._resolution = ""
        self._interval = Interval(1, "d")
        self._point: int | None = None
        self._pause_s: float | None = None
        self._next_step = 0.0
        self._put("replay_instance_id", f"{session}_instance")

    def obey(self, method: str, params: Sequence[Any]) -> None:
        """Carry out a command; `params` are those behind the session id, the id of the request first."""
        request = params[0] if params and isinstance(params[0], str) else ""
        try:
            handler = getattr(self, f"_on_{method}", None)
            if handler is None:
                self._put("replay_error", request, "unsupported method")
                return
            check_parameters(handler, params)
            handler(*params)
        except InvalidParameters:
            self._put("replay_error", request, "invalid parameters")
        except SymbolError:
            self._put("replay_error", request, "invalid symbol")

    def advance(self) -> bool:
        """Take the step that is due while the replay plays by itself; True if it took one."""
        if self._pause_s is None or self._world.wall() < self._next_step:
            return False
        self._next_step = self._world.wall() + self._pause_s
        self._step(1)
        return True

    def next_due(self) -> float | None:
        """When the next step is due by the wall clock, None while the replay stands still."""
        return None if self._pause_s is None else self._next_step

    # --- commands ---------------------------------------------------------------------------------------------

    def _on_replay_add_series(self, request: str, spec: str, resolution: str) -> None:
        interval, fields = parse_resolution(resolution), decode_spec(spec)
        source = self._world.find(fields["symbol"])
        if source is None or source.listing.denial:
            raise SymbolError(spec, "unknown or denied")
        if not source.supports(interval):
            raise InvalidParameters
        self._source, self._interval, self._resolution = source, interval, resolution
        self._put("replay_ok", request)

    def _on_replay_remove_series(self, request: str, *rest: Any) -> None:
        self._source, self._pause_s = None, None
        self._put("replay_ok", request)

    def _on_replay_set_resolution(self, request: str, resolution: str, *rest: Any) -> None:
        interval = parse_resolution(resolution)
        if self._source is None or not self._source.supports(interval):
            raise InvalidParameters
        self._interval, self._resolution = interval, resolution
        self._put("replay_ok", request)
        self._put("replay_resolutions", resolution, resolution)

    def _on_replay_reset(self, request: str, moment: float) -> None:
        if self._source is None or isinstance(moment, bool) or not isinstance(moment, int | float):
            raise InvalidParameters
        rows = self._source.bars(self._interval, min(moment, self._now()), count=1).rows
        self._pause_s = None
        self._put("replay_ok", request)
        self._move(rows[:, 0].astype(np.int64))
        self._put("replay_resolutions", self._resolution, self._resolution)

    def _on_replay_step(self, request: str, count: int) -> None:
        if self._source is None or self._point is None or not isinstance(count, int) or count < 1:
            raise InvalidParameters
        self._put("replay_ok", request)
        self._step(count)

    def _on_replay_start(self, request: str, pause_ms: float) -> None:
        if self._source is None or self._point is None or not isinstance(pause_ms, int | float) or pause_ms <= 0:
            raise InvalidParameters
        self._pause_s = pause_ms / 1_000
        self._next_step = self._world.wall() + self._pause_s
        self._put("replay_ok", request)

    def _on_replay_stop(self, request: str) -> None:
        self._pause_s = None
        self._put("replay_ok", request)

    # --- time -------------------------------------------------------------------------------------------------

    def _step(self, count: int) -> None:
        later = self._later_opens(count + 1)
        self._move(later[:count])
        if len(later) <= count:
            self._pause_s = None
            self._put("replay_data_end")

    def _move(self, opens: Integers) -> None:
        if not len(opens) or self._source is None:
            return
        self._point = int(opens[-1])
        closes = self._source.calendar.bar_close(self._interval, self._point)
        # A bar is whole within its last second; the next one must not have begun.
        self.moment = min(closes - (closes % 60 == 0), self._now())
        self._put("replay_point", self._point)

    def _later_opens(self, count: int) -> Integers:
        """The opens of at least `count` bars after the point; all there are if these are fewer."""
        assert self._source is not None and self._point is not None
        now, start = self._now(), self._point + 1
        rows = self._source.bars(
            self._interval, min(start + count * self._interval.seconds + _NEAR_S, now), start=start
        ).rows
        if len(rows) < count:
            rows = self._source.bars(self._interval, now, start=start).rows
        return rows[:, 0].astype(np.int64)

    def _now(self) -> float:
        delay_s = 0 if self._source is None else self._source.listing.delay_s
        return self._world.clock.now() - delay_s

    def _put(self, method: str, *params: Any) -> None:
        self._outbox.put(self.id, [Packet(encode_message(method, [self.id, *params]))])
