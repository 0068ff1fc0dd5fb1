"""How long a server asks to be left alone: the HTTP header Retry-After (RFC 9110 §10.2.3)."""

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

# A server may ask for more; by then a person should know.
MAX_RETRY_AFTER_S = 3_600.0


def read_retry_after(text: str, date: str = "") -> float | None:
    """Seconds from Retry-After, which is a number or an HTTP date; None if it is neither.

    A date is measured from the answer's own `date` header, so that our clock does not matter; without that it is
    ignored.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    until, asked_at = _moment(text), _moment(date)
    if until is None or asked_at is None:
        return None
    return min(max((until - asked_at).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
