"""What alert evaluation remembers from one tick to the next, and its form as the sensor's cursor.

A cursor is text that anybody with access to the web interface can edit: it is read with bounded memory, and
whatever is not a state is a `CursorError`.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Every sensor evaluation stores the cursor in Dagster's database: 4 KB of it is 13.5 MB a day.
MAX_CURSOR_LENGTH = 16 * 1024
KEY_BYTES = 5  # of a rule's key; two of 1,000 rules share one with probability 5e-7

_VERSION = 1
_MAX_JSON_BYTES = 1024 * 1024


_DAY_S = 86_400


class CursorError(ValueError):
    """The cursor does not hold an encoded state, or the state does not fit into one."""


class NewerCursorError(CursorError):
    """The cursor was written by a newer version of tv_etl; starting afresh would overwrite it."""


class RuleState(NamedTuple):
    since: int  # touches in minutes that opened before this are not reported: the rule did not exist yet
    armed_at: int | None = None  # the minute whose close armed it
    falling: bool = False  # armed for a fall to the level, not a rise
    reported_early: bool = False  # this arming's alert was reported ahead of its bar's commit
    spent: bool = False
    reported_at: int | None = None  # minute of the last reported touch, while a cooldown needs it


@dataclass(frozen=True)
class AlertState:
    """What an evaluation must remember for the next: arming per rule, committed minutes per symbol.

    `closes` are those of the watermark minutes; one that has changed by the next time reveals a split.
    """

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    watermarks: Mapping[str, int] = field(default_factory=dict)
    closes: Mapping[str, float] = field(default_factory=dict)
    recover_since: int | None = None

    @classmethod
    def recovering(cls, since: float) -> "AlertState":
        """State to start from after the cursor was lost: crossings from `since` on are found again.

        The first evaluation only notes this; the next ones work through the bars. The former arming is unknown,
        so a crossing that was already reported may be reported once more under another id.
        """
        return cls(recover_since=int(since // 60) * 60)

    def watermark(self, symbol: str) -> int | None:
        """The newest committed minute, from which bars are needed; None for a new symbol: any recent bars will do."""
        return self.watermarks.get(symbol)

    def encode(self) -> str:
        """The state as cursor text. Raises CursorError if that is longer than `MAX_CURSOR_LENGTH`."""
        rows = sorted(self.rules.items())
        watermarks = sorted(self.watermarks.items())
        times = [minute for _, minute in watermarks] + [state.since for _, state in rows]
        base = max(times, default=0)
        columns = list(zip(*(_pack_rule(state, base) for _, state in rows), strict=True))
        document = {
            "v": _VERSION,
            "s": self.recover_since,
            "b": base,
            "w": [[symbol for symbol, _ in watermarks], [base - minute for _, minute in watermarks]],
            "c": [self.closes.get(symbol) for symbol, _ in watermarks],
            # By column, times as distances, no quotes between keys: a third of what rows would take.
            "k": "".join(key for key, _ in rows),
            "r": columns,
        }
        packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 9)
        text = base64.b85encode(packed).decode()
        if len(text) > MAX_CURSOR_LENGTH:
            raise CursorError(
                f"{len(rows)} rules need a cursor of {len(text)} characters, more than {MAX_CURSOR_LENGTH}: use fewer"
            )
        return text

    @classmethod
    def decode(cls, text: str) -> "AlertState":
        """Read cursor text. Raises NewerCursorError for a later format, CursorError for anything else unreadable."""
        document = _unpack_document(text)
        if document.get("v") != _VERSION:
            if isinstance(document.get("v"), int) and document["v"] > _VERSION:
                raise NewerCursorError(
                    f"the cursor has version {document['v']}, this tv_etl reads up to {_VERSION}: update tv_etl"
                )
            raise CursorError("the cursor has no known version")
        try:
            watermarks = _read_watermarks(document)
            closes = _read_closes(document, watermarks)
            return cls(_read_rules(document), watermarks, closes, _read_recover_since(document))
        except (KeyError, TypeError, ValueError):
            raise CursorError("the cursor does not hold a state") from None


def without_future(state: AlertState, now: float) -> AlertState:
    """The state without what a clock that was days ahead has left in it: it would hold for years."""
    until = now + _DAY_S
    watermarks = {symbol: mark for symbol, mark in state.watermarks.items() if mark <= until}
    return AlertState(
        {key: each for key, each in state.rules.items() if max(each.since, each.armed_at or 0) <= until},
        watermarks,
        {symbol: close for symbol, close in state.closes.items() if symbol in watermarks},
        state.recover_since,
    )


def _pack_rule(state: RuleState, base: int) -> tuple[int | None, ...]:
    flags = state.falling + 2 * state.reported_early + 4 * state.spent
    return base - state.since, _distance(base, state.armed_at), flags, _distance(base, state.reported_at)


def _distance(base: int, time: int | None) -> int | None:
    return None if time is None else base - time


def _unpack_document(text: str) -> dict[str, Any]:
    if len(text) > MAX_CURSOR_LENGTH:
        raise CursorError(f"the cursor is longer than {MAX_CURSOR_LENGTH} characters")
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b85decode(text), _MAX_JSON_BYTES)
        if not inflater.eof:
            raise CursorError("the cursor is truncated or too large")
        document = json.loads(data)
    except CursorError:
        raise
    except (ValueError, zlib.error, RecursionError):
        raise CursorError("the cursor is corrupt") from None
    if not isinstance(document, dict):
        raise CursorError("the cursor does not hold a state")
    return document


def _read_rules(document: Mapping[str, Any]) -> dict[str, RuleState]:
    text, base = document["k"], _read_int(document["b"])
    width = 2 * KEY_BYTES
    if not isinstance(text, str) or len(text) % width:
        raise ValueError("keys")
    keys = [text[start : start + width] for start in range(0, len(text), width)]
    rows = list(zip(*document["r"], strict=True))
    return {key: _read_rule(row, base) for key, row in zip(keys, rows, strict=True)}


def _read_rule(row: tuple[object, ...], base: int) -> RuleState:
    since, armed, flags, reported = row
    bits = _read_int(flags)
    return RuleState(
        since=base - _read_int(since),
        armed_at=None if armed is None else base - _read_int(armed),
        falling=bool(bits & 1),
        reported_early=bool(bits & 2),
        spent=bool(bits & 4),
        reported_at=None if reported is None else base - _read_int(reported),
    )


def _read_watermarks(document: Mapping[str, Any]) -> dict[str, int]:
    base = _read_int(document["b"])
    symbols, distances = document["w"]
    watermarks = {symbol: base - _read_int(distance) for symbol, distance in zip(symbols, distances, strict=True)}
    if not all(isinstance(symbol, str) for symbol in watermarks):
        raise TypeError("symbols")
    return watermarks


def _read_closes(document: Mapping[str, Any], watermarks: Mapping[str, int]) -> dict[str, float]:
    closes = document.get("c", [None] * len(watermarks))  # a cursor without closes can be read, too
    pairs = zip(watermarks, closes, strict=True)
    return {symbol: _read_price(close) for symbol, close in pairs if close is not None}


def _read_price(value: object) -> float:
    if type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise TypeError("not a price")


def _read_recover_since(document: Mapping[str, Any]) -> int | None:
    return None if document["s"] is None else _read_int(document["s"])


def _read_int(value: object) -> int:
    # Not bool, and not too large for a time: later arithmetic must not run into OverflowError.
    if type(value) is int and abs(value) < 1 << 53:
        return value
    raise TypeError("not a time")
