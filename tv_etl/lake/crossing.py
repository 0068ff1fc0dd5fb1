"""What becomes of seams that an answer reaches across.

A seam is none any more where the answer has bars of its older side: it tells the scale of both. Of a side of which it
has no bar nothing is known still. Where that is the oldest one, the seam moves to where the answer begins; bars of such
a side that lie in the answer's time, and that it has not, are of another scale, or another instrument, and leave.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tv_etl.lake.bars import Bars
from tv_etl.lake.readjustment import overlap
from tv_etl.lake.seam import Seam
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.spans import Span


class Crossing(NamedTuple):
    """The seams after an answer, and the spans of which what is not served leaves the dataset."""

    seams: tuple[Seam, ...]
    leaving: tuple[Span, ...] = ()


def reached_across(seams: Sequence[Seam], sound: Bars) -> list[Seam]:
    """The open seams between the first and the last of some bars, oldest first."""
    if not len(sound):
        return []
    begins, ends = int(sound.times[0]), int(sound.times[-1])
    return sorted((each for each in seams if each.is_open and begins < each.at <= ends), key=lambda each: each.at)


def crossed(seams: tuple[Seam, ...], stored: StoredSeries, sound: Bars, now_s: float) -> Crossing:
    """Resolve or move the open seams that an answer, which joins what it overlaps, reaches across."""
    if not len(sound):
        return Crossing(seams)
    begins, leaving = int(sound.times[0]), list[Span]()
    after = dict[int, Seam]()
    for seam in reached_across(seams, sound):
        start = max([begins, *after])
        has_common = len(overlap(stored.between(start, seam.at), sound)[0]) > 0
        after[seam.at] = _resolved(seam, now_s)
        if has_common:
            continue
        leaving.append((start, seam.at))
        before_s = stored.newest_before(begins)
        if start == begins and before_s is not None:
            older = before_s, float(stored.between(before_s, begins).values[3, -1])
            after[seam.at] = replace(seam, at=begins, older=older, newer=(begins, float(sound.values[3, 0])))
    return Crossing(tuple(after.get(seam.at, seam) if seam.is_open else seam for seam in seams), tuple(leaving))


def taken_over(seams: tuple[Seam, ...], new: Seam, sound: Bars, now_s: float) -> Crossing:
    """The seams where an answer begins at a new one, which takes the place of those that it reaches across."""
    reached = reached_across(seams, sound)
    after = tuple(_resolved(each, now_s) if each in reached else each for each in seams)
    return Crossing(after, ((new.at, int(sound.times[-1]) + 1),))


def _resolved(seam: Seam, now_s: float) -> Seam:
    return replace(seam, resolved="served anew across it", resolved_at=now_s)
