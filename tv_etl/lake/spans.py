"""Sets of time as sorted, disjoint, half-open spans of UTC seconds; pure."""

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The union; spans that touch become one, empty ones vanish."""
    union: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def within(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """What of the spans lies in [start, end)."""
    return merged((max(first, start), min(after, end)) for first, after in spans)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What of the spans lies in none of the taken ones."""
    left: list[Span] = []
    holes = merged(taken)
    for start, end in merged(spans):
        for first, after in holes:
            if after <= start or first >= end:
                continue
            left.append((start, first))
            start = after
        left.append((start, end))
    return merged(left)
