"""Who may open a WebSocket now: limits per address, as the live server has them. Sans I/O."""

import math
from collections import defaultdict, deque

FULL_RETRY_S = 5  # nobody knows when a connection ends

_MINUTE_S = 60.0


class Admission:
    """Counts upgrades; `max_connections` may be open from one address, `rate_limit` opened within a minute."""

    def __init__(self, max_connections: int | None = None, rate_limit: int | None = None) -> None:
        self._max_connections, self._rate_limit = max_connections, rate_limit
        self._opened: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, address: str, now: float, open_connections: int) -> int | None:
        """None if one more may be opened, else after how many seconds to try again; refusals do not count."""
        if self._max_connections is not None and open_connections >= self._max_connections:
            return FULL_RETRY_S
        if self._rate_limit is None:
            return None
        opened = self._opened[address]
        while opened and opened[0] <= now - _MINUTE_S:
            opened.popleft()
        if len(opened) >= self._rate_limit:
            return max(math.ceil(opened[0] + _MINUTE_S - now), 1) if opened else FULL_RETRY_S
        opened.append(now)
        return None
