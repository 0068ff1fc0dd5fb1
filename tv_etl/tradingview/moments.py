"""Moments in UTC: seconds, as the wire and the lake count them, datetimes for callers, ISO 8601 for people."""

import re
from datetime import datetime, timezone, tzinfo


def utc(second: float) -> datetime:
    """The moment that many seconds after 1970."""
    return datetime.fromtimestamp(second, tz=timezone.utc)


def parse_moment(text: str, zone: tzinfo | None = None) -> datetime:
    """Read ISO 8601, such as `2026-11-02` or `2026-11-02T14:30:00Z`.

    Without an offset it is a time in `zone`. Raises ValueError for anything else, and without an offset or a `zone`.
    """
    try:
        # Python 3.10 knows no Z.
        moment = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write e.g. 2026-11-02 or 2026-11-02T14:30:00+00:00") from None
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise ValueError(f"{text!r} has no UTC offset; write e.g. 2026-11-02T14:30:00+00:00")
    return moment.replace(tzinfo=zone)
