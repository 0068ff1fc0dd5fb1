"""Where the bars of a series came from: the server, or a file that somebody imported; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tv_etl.lake.bars import Mask, Times
from tv_etl.lake.spans import Span, within, without

_SERVED = -1


@dataclass(frozen=True)
class Imported:
    """The bars of a half-open span of opens (UTC seconds) did not come from the server.

    `provenance` says for people where from; `scaled`, how their prices were brought to the scale of the series, empty
    where they were of it.
    """

    start: int
    end: int
    provenance: str
    entered_at: float = 0.0  # by the commit
    scaled: str = ""

    @property
    def span(self) -> Span:
        """The span alone."""
        return self.start, self.end


def are_imported(times: Times, imported: Sequence[Imported]) -> Mask:
    """True for each bar that came from elsewhere than the server."""
    return np.asarray(_places(times, imported) != _SERVED)


def joined_provenance(
    known: Sequence[Imported], given: Sequence[Imported], stored: Times, entering: Times
) -> tuple[Imported, ...]:
    """The spans after bars were entered: `given` say where those came from, `stored` are all bars of their extent."""
    if not len(entering) or not (known or given):
        return tuple(known)
    begins, ends = int(entering[0]), int(entering[-1]) + 1
    every = [*known, *given]
    times, is_entering = _together(stored, entering)
    places = _places(times, known)
    fresh = _places(entering, given)
    places[is_entering] = np.where(fresh == _SERVED, _SERVED, fresh + len(known))
    # A span goes on up to the next bar that came from somewhere else.
    firsts = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
    bounds = [*times[firsts].tolist(), ends]
    inside = [
        replace(every[place], start=start, end=end)
        for place, start, end in zip(places[firsts].tolist(), bounds, bounds[1:], strict=False)
        if place != _SERVED
    ]
    outside = [
        replace(each, start=start, end=end) for each in known for start, end in without([each.span], [(begins, ends)])
    ]
    return _touching_joined([*outside, *inside])


def clipped_provenance(imported: Sequence[Imported], start: int) -> tuple[Imported, ...]:
    """What of the spans lies from a second on."""
    return tuple(
        replace(each, start=first, end=after)
        for each in imported
        for first, after in within([each.span], start, max(start, each.end))
    )


def _together(stored: Times, entering: Times) -> tuple[Times, Mask]:
    """All times that either has, ascending as both do, and which of them are entering."""
    if not len(stored):
        return entering, np.ones(len(entering), np.bool_)
    times = np.concatenate([stored, entering])
    times.sort(kind="stable")  # two runs are merged in one pass
    times = times[np.r_[True, times[1:] != times[:-1]]]
    is_entering = np.zeros(len(times), np.bool_)
    is_entering[np.searchsorted(times, entering)] = True
    return times, is_entering


def _places(times: Times, imported: Sequence[Imported]) -> npt.NDArray[np.int64]:
    """For each of the times, which ascend, the place of the span that holds it."""
    places = np.full(len(times), _SERVED, np.int64)
    for place, each in enumerate(imported):
        first, after = np.searchsorted(times, each.span)
        places[first:after] = place
    return places


def _touching_joined(spans: Sequence[Imported]) -> tuple[Imported, ...]:
    joined: list[Imported] = []
    for each in sorted(spans, key=lambda each: each.start):
        last = joined[-1] if joined else each
        if joined and last.end == each.start and replace(last, end=each.end) == replace(each, start=last.start):
            joined[-1] = replace(last, end=each.end)
        else:
            joined.append(each)
    return tuple(joined)
