"""What was before the store: cursors, whole and damaged, and an outbox; each comes into the store once."""

import base64
import json
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.former import (
    MAX_CURSOR_LENGTH,
    CursorError,
    FormerState,
    bring_in_outbox,
    former_key,
    former_target,
)
from tv_etl.alerts.state import Close, Registered, RuleState, SymbolState
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.target import ReadyTarget, Secrets
from tv_etl.alerts.targets.webhook import WebhookTarget
from tv_etl_tests.alerts.test_fold import make_rule
from tv_etl_tests.yardstick import cpu_ratio

START = 1_790_000_040


def pack(document: object) -> str:
    return base64.b85encode(zlib.compress(json.dumps(document).encode())).decode()


def document_of(state: FormerState) -> dict[str, Any]:
    """A cursor's document, as it was written: by column, times as distances from `b`."""
    rows = sorted(state.rules.items())

    def ago(time: int | None) -> int | None:
        return None if time is None else START - time

    columns = [
        (ago(each.since), ago(each.armed_at), each.falling + 2 * each.reported_early + 4 * each.spent,
         ago(each.reported_at))
        for _, each in rows
    ]  # fmt: skip
    return {
        "v": 1,
        "s": state.recover_since,
        "b": START,
        "w": [list(state.watermarks), [START - mark for mark in state.watermarks.values()]],
        "c": [state.closes.get(symbol) for symbol in state.watermarks],
        "k": "".join(key for key, _ in rows),
        "r": list(zip(*columns, strict=True)),
    }


RULES = [make_rule(name=name, symbol=symbol) for name, symbol in (("a", "X:A"), ("b", "X:A"), ("c", "X:B"))]
STATE = FormerState(
    {
        former_key(RULES[0]): RuleState(START - 600, START - 120, True, True, False, START - 300),
        former_key(RULES[1]): RuleState(START - 60, spent=True),
    },
    {"X:A": START - 180, "X:B": START - 240},
    {"X:A": 12.5},
)


def test_a_cursor_is_read_as_it_was_written() -> None:
    assert FormerState.decode(pack(document_of(STATE))) == STATE
    assert FormerState.decode(pack(document_of(FormerState()))) == FormerState()


def test_a_cursor_without_closes_is_read() -> None:
    document = document_of(STATE)
    del document["c"]
    assert FormerState.decode(pack(document)) == FormerState(STATE.rules, STATE.watermarks)


def test_rules_go_on_from_where_the_cursor_had_them() -> None:
    registered = [Registered(rule, number) for number, rule in enumerate(RULES, 7)]
    state = STATE.state(registered)
    assert state.armings == {
        registered[0].key: STATE.rules[former_key(RULES[0])],
        registered[1].key: STATE.rules[former_key(RULES[1])],
    }
    assert state.symbols == {
        "X:A": SymbolState(START - 180, (Close(START - 180, 12.5),)),
        "X:B": SymbolState(START - 240),
    }


def test_a_recovery_that_had_begun_goes_on() -> None:
    [registered] = [Registered(RULES[0], 7)]
    state = FormerState(recover_since=START).state([registered])
    assert (state.armings, state.symbols) == ({registered.key: RuleState(START)}, {"X:A": SymbolState(START - 60)})


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda data: base64.b85encode(zlib.compress(data)).decode())))
def test_any_other_text_is_a_cursor_error(text: str) -> None:
    with pytest.raises(CursorError):
        FormerState.decode(text)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["v", "s", "w", "c", "k", "r"]), JSON)
def test_a_cursor_with_a_wrong_field_is_a_state_or_a_cursor_error(field: str, value: object) -> None:
    try:
        damaged = FormerState.decode(pack(document_of(STATE) | {field: value}))
    except CursorError:
        return
    damaged.state([Registered(rule, 7) for rule in RULES])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_truncated_cursor_is_a_cursor_error(data: st.DataObject) -> None:
    text = pack(document_of(STATE))
    with pytest.raises(CursorError):
        FormerState.decode(text[: data.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_cursor_of_another_version_is_told_as_that(version: object) -> None:
    with pytest.raises(CursorError, match="the cursor has no known version"):
        FormerState.decode(pack(document_of(STATE) | {"v": version}))


def test_a_cursor_that_is_too_long_is_not_even_unpacked() -> None:
    with pytest.raises(CursorError, match="longer than 16384 characters"):
        FormerState.decode("0" * (MAX_CURSOR_LENGTH + 1))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b" " * 9_000_000, id="nine megabytes in a small cursor"),
        pytest.param(b"[" * 900_000, id="nested too deep"),
        pytest.param(b'{"v":1,"s":' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
    ],
)
def test_bombs_are_refused_in_bounded_time(data: bytes) -> None:
    squeezer = zlib.compressobj(9)
    text = base64.b85encode(squeezer.compress(data) + squeezer.flush()).decode()

    def refuse() -> None:
        with pytest.raises(CursorError):
            FormerState.decode(text)
        with pytest.raises(CursorError):
            FormerState.decode(base64.b85encode(zlib.compress(b" " * 2_000_000, 9)).decode())

    assert cpu_ratio(refuse) < 125


# --- the outbox

OUTBOX = """
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, destination TEXT NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', group_id TEXT, attempts INTEGER NOT NULL DEFAULT 0, first_at REAL,
    next_at REAL NOT NULL DEFAULT 0, done_at REAL, error TEXT, UNIQUE (event_id, destination)
);
"""


def write_outbox(path: Path, *rows: Mapping[str, Any]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(OUTBOX)
        for row in rows:
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO delivery ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def test_what_an_outbox_had_to_deliver_and_gave_up_comes_into_the_store_once(tmp_path: Path) -> None:
    hook = ReadyTarget(WebhookTarget(type="webhook", url_env="HOOK"), Secrets({"HOOK": "https://a.example/x"}))
    path, store = tmp_path / "outbox.sqlite", AlertStore(tmp_path / "alerts.sqlite")
    bodies = {name: json.dumps({"event_id": name, "rule": "r", "text": f"text of {name}"}) for name in "abcd"}
    write_outbox(
        path,
        {"event_id": "a", "destination": former_target(hook), "body": bodies["a"], "first_at": 5.0},
        {"event_id": "b", "destination": former_target(hook), "body": bodies["b"], "state": "delivered"},
        {
            "event_id": "c",
            "destination": former_target(hook),
            "body": bodies["c"],
            "state": "dead",
            "error": "HTTP 404",
        },
        {"event_id": "a", "destination": "unknown", "body": bodies["a"]},
    )
    for _ in range(2):
        bring_in_outbox(store, path, [hook])
    assert store.stats == DeliveryStats(pending=2, delivered=0, dead=1)
    assert [(each.event_id, each.target, each.first_at) for each in store.pending(10.0)] == [
        ("a", "json HOOK", 5.0),
        ("a", "unknown", None),
    ]
    assert [(each.text, each.error, each.target) for each in store.dead_letters(10)] == [
        ("text of c", "HTTP 404", "json HOOK")
    ]


def test_without_an_outbox_nothing_comes_in(tmp_path: Path) -> None:
    store = AlertStore(tmp_path / "alerts.sqlite")
    bring_in_outbox(store, tmp_path / "outbox.sqlite", [])
    assert store.stats == DeliveryStats(0, 0, 0)
    assert not (tmp_path / "outbox.sqlite").exists()


def test_an_outbox_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match=r"outbox\.sqlite: file is not a database"):
        bring_in_outbox(AlertStore(tmp_path / "alerts.sqlite"), path, [])
