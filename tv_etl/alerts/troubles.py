"""Troubles of collecting: what turns bad, and good again, each turn told once.

A *sighting* says that a subject was bad or good at some moment: a series in a run, a check, a sensor. A subject is in
*trouble* from the first bad sighting to the next good one; seen bad again it is told nothing new, unless for another
reason. The troubles of a scope, such as an asset, are one incident as long as there are any.

Pure: the open troubles and the sightings of a tick in, the open troubles and what is to be told out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from tv_etl.alerts.events import digest

Topic = Literal["runs", "checks", "losses", "seams", "sensors"]
TOPICS: tuple[Topic, ...] = get_args(Topic)

# Of one trouble so many reasons are told: one that names something else each time is no news for ever.
MAX_REASONS = 20
_VARYING = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]+)*|[\d.,:]*\d[\d.,:]*")


class Subject(NamedTuple):
    """What may be in trouble: `name` is a series or partition of the scope, empty for the scope as a whole."""

    topic: Topic
    scope: str
    name: str = ""


@dataclass(frozen=True)
class Sighting:
    """How a subject was seen; `at` orders the sightings of one subject, and older ones than what is known are ignored.

    `reason` says why it is bad, or, of a good one, why it is no longer watched. `sign` is the same for the same reason,
    however it is worded; by default it is the reason without its numbers. `page` is the path of what shows it in
    Dagster. `group` is the group of the watchlist that it belongs to.
    """

    subject: Subject
    is_bad: bool
    at: float
    reason: str = ""
    sign: str = ""
    page: str = ""
    group: str = ""


@dataclass(frozen=True)
class Trouble:
    """An open trouble: its number, the incident that it is a part of, and what was told of it."""

    generation: int
    incident: str
    at: float
    reason: str = ""
    told: tuple[str, ...] = ()
    page: str = ""
    group: str = ""


Turning = Literal["begins", "changes", "ends"]


@dataclass(frozen=True)
class Turn:
    """What is to be told of a subject; `left` is how many of its scope are still in trouble after it."""

    subject: Subject
    turning: Turning
    trouble: Trouble
    left: int
    reason: str = ""


class Folded(NamedTuple):
    """What is open after a tick, the number of the last trouble, and what is to be told, in order."""

    open: Mapping[Subject, Trouble]
    last: int
    turns: list[Turn]


def fold(before: Mapping[Subject, Trouble], last: int, sightings: Iterable[Sighting]) -> Folded:
    """Take in the sightings, in the order of their moments; `last` is the number of the last trouble there was."""
    found, turns = dict(before), list[Turn]()
    left = Counter((subject.topic, subject.scope) for subject in found)
    incidents = {(subject.topic, subject.scope): each.incident for subject, each in found.items()}
    for seen in sorted(sightings, key=lambda each: each.at):
        subject, known = seen.subject, found.get(seen.subject)
        scope = (subject.topic, subject.scope)
        if known is not None and seen.at < known.at:
            continue
        if not seen.is_bad:
            if known is not None:
                del found[subject]
                left[scope] -= 1
                if not left[scope]:
                    del incidents[scope]
                turns.append(Turn(subject, "ends", known, left[scope], seen.reason))
            continue
        sign = seen.sign or sign_of(seen.reason)
        if known is None:
            last += 1
            left[scope] += 1
            incident = incidents.setdefault(scope, digest((*subject, last), size=16))
            trouble = Trouble(last, incident, seen.at, seen.reason, (sign,), seen.page, seen.group)
            turns.append(Turn(subject, "begins", trouble, left[scope], seen.reason))
        else:
            is_told = sign in known.told or len(known.told) >= MAX_REASONS
            told = known.told if is_told else (*known.told, sign)
            trouble = Trouble(
                known.generation, known.incident, seen.at, seen.reason, told, seen.page or known.page, seen.group
            )
            if not is_told:
                turns.append(Turn(subject, "changes", trouble, left[scope], seen.reason))
        found[subject] = trouble
    return Folded(found, last, turns)


def sign_of(reason: str) -> str:
    """What two wordings of one reason have in common: the text without numbers, times and ids."""
    return digest([_VARYING.sub("#", reason.lower())], size=8)


class Seen(NamedTuple):
    """How far numbered records were read: all up to `after`, and those of `fresh`, each with when it was first seen.

    Writers take their numbers in one order and may commit in another. So what is read stays among the fresh for a
    while, and is read again together with what has come between.
    """

    after: int
    fresh: Mapping[str, float]

    def with_read(
        self, read: Iterable[tuple[int, str]], now: float, keep_s: float, before: int | None = None
    ) -> "Seen":
        """After reading records, each a number and a key, all of them with numbers greater than `after`.

        From the record with the number `before` on, all are to be read again.
        """
        known = {f"{number}:{key}": self.fresh.get(f"{number}:{key}", now) for number, key in read}
        # A clock that was set back makes nothing fresh for ever.
        old = [number_of(key) for key, at in known.items() if not now - keep_s < at <= now]
        after = max([self.after, *(each for each in old if before is None or each < before)])
        return Seen(after, {key: at for key, at in known.items() if number_of(key) > after})

    @property
    def newest(self) -> int:
        """The greatest number that was read."""
        return max([self.after, *map(number_of, self.fresh)])

    def is_new(self, number: int, key: str) -> bool:
        """True if the record was not read before."""
        return number > self.after and f"{number}:{key}" not in self.fresh


def number_of(key: str) -> int:
    return int(key.partition(":")[0])
