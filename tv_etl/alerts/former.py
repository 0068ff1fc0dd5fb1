"""What was before the store: the state in the sensor's cursor, and the outbox in a file of its own. Each is read once.

A cursor is text that anybody with access to the web interface can edit: it is read with bounded memory, and whatever is
not a state is a `CursorError`.
"""

import base64
import hashlib
import json
import math
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.deliveries import Deliveries
from tv_etl.alerts.events import digest
from tv_etl.alerts.fold import MINUTE_S
from tv_etl.alerts.rules import AlertRule
from tv_etl.alerts.state import AlertState, ArmingKey, Close, Registered, RuleState, SymbolState
from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget
from tv_etl.alerts.targets.webhook import WebhookTarget

MAX_CURSOR_LENGTH = 16 * 1024
_VERSION = 1
_MAX_JSON_BYTES = 1024 * 1024
_KEY_BYTES = 5


class CursorError(ValueError):
    """The cursor does not hold a state."""


@dataclass(frozen=True)
class FormerState:
    """What a cursor held: armings by a hash of the rule, watermarks and the closes of their minutes by symbol."""

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    watermarks: Mapping[str, int] = field(default_factory=dict)
    closes: Mapping[str, float] = field(default_factory=dict)
    recover_since: int | None = None

    @classmethod
    def decode(cls, text: str) -> "FormerState":
        """Read cursor text. Raises CursorError for anything that is not one."""
        document = _unpack_document(text)
        if document.get("v") != _VERSION:
            raise CursorError("the cursor has no known version")
        try:
            watermarks = _read_watermarks(document)
            closes = _read_closes(document, watermarks)
            return cls(_read_rules(document), watermarks, closes, _read_recover_since(document))
        except (KeyError, TypeError, ValueError):
            raise CursorError("the cursor does not hold a state") from None

    def state(self, registered: Iterable[Registered]) -> AlertState:
        """The same for the rules as they are registered now; those it does not know begin anew."""
        armings: dict[ArmingKey, RuleState] = {}
        symbols = {
            symbol: SymbolState(mark, (Close(mark, self.closes[symbol]),) if symbol in self.closes else ())
            for symbol, mark in self.watermarks.items()
        }
        for each in registered:
            known = self.rules.get(former_key(each.rule))
            if self.recover_since is not None:
                known = RuleState(self.recover_since)
                symbols[each.symbol] = SymbolState(self.recover_since - MINUTE_S)
            if known is not None:
                armings[each.key] = known
        return AlertState(armings, symbols)


def former_key(rule: AlertRule) -> str:
    """Under which the cursor had a rule."""
    return digest((rule.name, rule.revision), size=_KEY_BYTES)


def bring_in_outbox(store: Deliveries, path: Path, targets: Iterable[ReadyTarget | UnusableTarget]) -> None:
    """Take over what an outbox had to deliver and what it gave up, if there is one; once. Raises StoreError.

    It knew a target by a hash of its address; what waits for one that is not among these is given up in time.
    """
    if not path.exists():
        return
    keys = {former_target(each): each.key for each in targets if isinstance(each, ReadyTarget)}
    try:
        store.bring_in("outbox", _deliveries(path, keys))
    except sqlite3.Error as error:
        raise StoreError(f"{path.name}: {error}") from error


def former_target(target: ReadyTarget) -> str:
    """Under which the outbox had a target, if it could have it."""
    if not isinstance(target.spec, WebhookTarget | SlackTarget):
        return ""
    text = f"{target.spec.kind} {target.spec.address(target.secrets)}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _deliveries(path: Path, keys: Mapping[str, str]) -> Iterator[tuple[str, str, str, str, float | None, str | None]]:
    columns = "event_id, destination, body, state, first_at, error"
    query = f"SELECT {columns} FROM delivery WHERE state != 'delivered' ORDER BY id"  # nosec: all of it is ours
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        for event_id, destination, body, state, first_at, error in db.execute(query).fetchall():
            yield event_id, keys.get(destination, destination), body, state, first_at, error


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
    width = 2 * _KEY_BYTES
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
