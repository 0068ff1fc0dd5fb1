"""Where a peer does not get what it asks for, and why that is no fault of the market server."""

from typing import NamedTuple


class KnownDifference(NamedTuple):
    """A failure that is expected as long as its message has `shows` in it."""

    shows: str
    reason: str


# By peer and scenario.
KNOWN_DIFFERENCES = {
    ("tvkit", "history of odd symbols"): KnownDifference(
        "symbol components must contain only valid characters",
        "tvkit itself allows letters, digits and a few signs in a symbol, and sends no other",
    ),
}
