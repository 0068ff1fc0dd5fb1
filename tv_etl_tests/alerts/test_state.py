"""The cursor: round trip, size, and everything that is not one."""

import base64
import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.alerts.rules import AlertRule, MinuteBar, evaluate
from tv_etl.alerts.state import MAX_CURSOR_LENGTH, AlertState, CursorError, NewerCursorError, RuleState, without_future
from tv_etl_tests.yardstick import cpu_ratio

pytestmark = pytest.mark.pure

START = 1_790_000_040


def pack(document: object) -> str:
    return base64.b85encode(zlib.compress(json.dumps(document).encode())).decode()


def document_of(state: AlertState) -> dict[str, object]:
    document = json.loads(zlib.decompress(base64.b85decode(state.encode())))
    assert isinstance(document, dict)
    return document


def market(rules_count: int, symbols_count: int, minutes: int) -> tuple[list[AlertRule], dict[str, list[MinuteBar]]]:
    chance = random.Random(7)
    symbols = [f"X:{chance.randrange(16**6):06X}" for _ in range(symbols_count)]
    rules = [
        AlertRule(name=f"rule-{n}-{chance.randrange(10**9)}", symbol=symbols[n % symbols_count], kind="cross",
                  level=chance.uniform(90, 110), cooldown_s=900.0)
        for n in range(rules_count)
    ]  # fmt: skip
    bars: dict[str, list[MinuteBar]] = {}
    for symbol in symbols:
        price = 100.0
        for minute in range(minutes):
            close = price + chance.gauss(0, 1)
            bar = MinuteBar(START + 60 * minute, price, max(price, close), min(price, close), close)
            bars.setdefault(symbol, []).append(bar)
            price = close
    return rules, bars


def test_a_thousand_rules_fit_and_an_hour_is_folded_in_a_blink() -> None:
    rules, bars = market(1000, 200, 65)
    _, state = evaluate(rules, AlertState(), {symbol: b[:3] for symbol, b in bars.items()}, {}, START + 240.0)

    def fold() -> None:
        alerts, after = evaluate(rules, state, bars, {}, START + 4500.0)
        assert len(alerts) > 100
        assert len(after.encode()) < MAX_CURSOR_LENGTH

    assert cpu_ratio(fold) < 125
    assert AlertState.decode(state.encode()) == state


def test_too_many_rules_for_a_cursor_are_an_error_not_a_truncation() -> None:
    rules, bars = market(4000, 100, 3)
    _, state = evaluate(rules, AlertState(), bars, {}, START + 240.0)
    with pytest.raises(CursorError, match="4000 rules"):
        state.encode()


def test_states_of_every_age_come_back_whole() -> None:
    assert AlertState.decode(AlertState().encode()) == AlertState()
    recovering = AlertState.recovering(START + 59)
    assert AlertState.decode(recovering.encode()) == recovering


def test_a_cursor_without_closes_is_read() -> None:
    rules, bars = market(3, 2, 5)
    _, state = evaluate(rules, AlertState(), bars, {}, START + 600.0)
    document = document_of(state)
    assert len(state.closes) == 2
    del document["c"]
    assert AlertState.decode(pack(document)) == AlertState(state.rules, state.watermarks)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda data: base64.b85encode(zlib.compress(data)).decode())))
def test_any_other_text_is_a_cursor_error(text: str) -> None:
    with pytest.raises(CursorError):
        AlertState.decode(text)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["v", "s", "w", "c", "k", "r"]), JSON)
def test_a_state_with_a_wrong_field_is_a_state_or_a_cursor_error(field: str, value: object) -> None:
    rules, bars = market(3, 2, 5)
    _, state = evaluate(rules, AlertState(), bars, {}, START + 600.0)
    try:
        damaged = AlertState.decode(pack(document_of(state) | {field: value}))
    except CursorError:
        return
    evaluate(rules, damaged, bars, {}, START + 900.0)
    assert AlertState.decode(damaged.encode()) == damaged


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_truncated_or_altered_cursor_is_a_cursor_error(data: st.DataObject) -> None:
    rules, bars = market(5, 2, 5)
    text = evaluate(rules, AlertState(), bars, {}, START + 600.0)[1].encode()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(CursorError):
        AlertState.decode(text[:cut])


def test_a_newer_cursor_is_distinguished_from_a_corrupt_one() -> None:
    with pytest.raises(NewerCursorError):
        AlertState.decode(pack(document_of(AlertState()) | {"v": 2}))
    with pytest.raises(CursorError) as caught:
        AlertState.decode(pack(document_of(AlertState()) | {"v": 0}))
    assert not isinstance(caught.value, NewerCursorError)


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
            AlertState.decode(text)
        with pytest.raises(CursorError):
            AlertState.decode(base64.b85encode(zlib.compress(b" " * 2_000_000, 9)).decode())

    assert cpu_ratio(refuse) < 125


def test_what_such_a_clock_has_left_in_a_cursor_is_forgotten() -> None:
    state = AlertState(
        {"dead": RuleState(2_000_000), "well": RuleState(900_000)},
        {"X:A": 2_000_000, "X:B": 900_000},
        {"X:A": 1.0, "X:B": 2.0},
    )
    kept = without_future(state, 1_000_000.0)
    assert (set(kept.rules), set(kept.watermarks), set(kept.closes)) == ({"well"}, {"X:B"}, {"X:B"})
