"""Each turn of a subject is told once: against an oracle that looks at one subject at a time."""

from collections import defaultdict
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.alerts.troubles import MAX_REASONS, Seen, Sighting, Subject, Trouble, Turn, fold, sign_of

pytestmark = pytest.mark.pure

A, B = Subject("runs", "bars", "1d|X:A"), Subject("runs", "bars", "1d|X:B")
SUBJECTS = [A, B, Subject("runs", "bars"), Subject("checks", "bars: fresh", "1d|X:A"), Subject("sensors", "sensor s")]


def bad(subject: Subject, at: float, reason: str = "it broke") -> Sighting:
    return Sighting(subject, True, at, reason)


def good(subject: Subject, at: float) -> Sighting:
    return Sighting(subject, False, at)


def kinds(turns: list[Turn]) -> list[tuple[str, str]]:
    return [(turn.subject.name, turn.turning) for turn in turns]


def test_what_is_bad_is_told_once_until_it_is_good() -> None:
    seen = [bad(A, 1), bad(A, 2), good(A, 3), good(A, 4), bad(A, 5)]
    found = fold({}, 0, seen)
    assert kinds(found.turns) == [(A.name, "begins"), (A.name, "ends"), (A.name, "begins")]
    assert [turn.trouble.generation for turn in found.turns] == [1, 1, 2]
    assert set(found.open) == {A} and found.last == 2


def test_another_reason_is_told_and_the_same_in_other_numbers_is_not() -> None:
    reasons = ["no bar after 14:30 in run 3f2a1b0c9", "no bar after 15:45 in run 77aa00112", "refused", "refused"]
    found = fold({}, 0, [bad(A, at, reason) for at, reason in enumerate(reasons)])
    assert [(turn.turning, turn.reason) for turn in found.turns] == [("begins", reasons[0]), ("changes", "refused")]
    assert sign_of(reasons[0]) == sign_of(reasons[1]) != sign_of("refused")


def test_a_reason_that_is_another_each_time_is_not_told_for_ever() -> None:
    words = [f"{first}{second}" for first in "abcdefgh" for second in "stuvwxyz"]
    found = fold({}, 0, [bad(A, at, word) for at, word in enumerate(words)])
    assert len(found.turns) == MAX_REASONS


def test_the_troubles_of_a_scope_are_one_incident_as_long_as_there_are_any() -> None:
    found = fold({}, 0, [bad(A, 1), bad(B, 2), good(A, 3), bad(A, 4), good(A, 5), good(B, 6), bad(A, 7)])
    incidents = [turn.trouble.incident for turn in found.turns]
    assert len(set(incidents[:6])) == 1 and incidents[6] != incidents[0]
    assert [turn.left for turn in found.turns] == [1, 2, 1, 2, 1, 0, 1]


def test_what_was_seen_before_what_is_known_changes_nothing() -> None:
    known = fold({}, 0, [bad(A, 10)])
    assert fold(known.open, known.last, [good(A, 9)]) == (known.open, known.last, [])
    assert kinds(fold(known.open, known.last, [good(A, 10)]).turns) == [(A.name, "ends")]


@given(st.lists(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(["", "x", "y"])), max_size=40), st.data())
def test_every_entry_and_every_exit_is_told_once_however_the_sightings_are_cut_into_ticks(
    seen: list[tuple[Subject, str]], data: st.DataObject
) -> None:
    """Also where a tick is killed before it is stored: the next one reads the same again, and more."""
    sightings = [Sighting(subject, bool(reason), at, reason) for at, (subject, reason) in enumerate(seen)]
    known: dict[Subject, Trouble] = {}
    last, told, stored = 0, list[Turn](), 0
    while stored < len(sightings):
        until = data.draw(st.integers(stored + 1, len(sightings)))
        found = fold(known, last, sightings[stored:until])
        if data.draw(st.booleans(), label="killed before it is stored"):
            continue
        known, last, stored = dict(found.open), found.last, until
        told += found.turns

    expected: dict[Subject, list[str]] = defaultdict(list)
    for subject in SUBJECTS:
        states = [reason for each, reason in seen if each == subject]
        for is_bad, spell in groupby(states, key=bool):
            if is_bad:
                expected[subject] += ["begins", *["changes"] * (len(set(spell)) - 1)]
            elif expected[subject]:
                expected[subject].append("ends")
    actual: dict[Subject, list[str]] = defaultdict(list)
    for turn in told:
        actual[turn.subject].append(turn.turning)
    assert {subject: turns for subject, turns in expected.items() if turns} == actual
    generations = [turn.trouble.generation for turn in told if turn.turning == "begins"]
    assert generations == list(range(1, last + 1))


@given(st.permutations(list(range(1, 9))), st.integers(1, 3))
def test_records_that_become_visible_out_of_order_are_each_read_once(order: list[int], late: int) -> None:
    """Each appears at most `late` ticks after one with a greater number."""
    visible_at = {number: max(tick, number - 1 - late) for tick, number in enumerate(order)}
    visible_at = {number: min(tick, number + late) for number, tick in visible_at.items()}
    seen, read = Seen(0, {}), list[int]()
    for tick in range(20):
        found = [number for number, at in visible_at.items() if at <= tick and number > seen.after]
        read += [number for number in sorted(found) if seen.is_new(number, "run")]
        seen = seen.with_read([(number, "run") for number in found], float(tick), keep_s=2.0 * late + 2)
    assert sorted(read) == list(range(1, 9))
    assert not seen.fresh, "and forgotten once nothing smaller can come"


def test_a_clock_that_was_set_back_keeps_nothing_fresh_for_ever() -> None:
    seen = Seen(0, {}).with_read([(5, "a")], 1_000.0, 120.0)
    assert seen == Seen(0, {"5:a": 1_000.0})
    assert seen.with_read([(5, "a")], 500.0, 120.0) == Seen(5, {})
