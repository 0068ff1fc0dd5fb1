"""Sets of time against sets of seconds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.spans import Span, merged, within, without

pytestmark = pytest.mark.pure

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def seconds(spans: list[Span]) -> set[int]:
    return {second for start, end in spans for second in range(start, end)}


@given(SPANS)
def test_a_union_has_the_same_seconds_in_few_spans(spans: list[Span]) -> None:
    union = merged(spans)
    assert seconds(union) == seconds(spans)
    assert all(start < end for start, end in union)
    assert all(first[1] < second[0] for first, second in pairwise(union))


@given(SPANS, SPANS)
def test_a_difference_has_the_seconds_that_only_the_first_has(spans: list[Span], taken: list[Span]) -> None:
    assert seconds(without(spans, taken)) == seconds(spans) - seconds(taken)


@given(SPANS, st.integers(0, 30), st.integers(0, 30))
def test_a_cut_has_the_seconds_inside(spans: list[Span], start: int, end: int) -> None:
    assert seconds(within(spans, start, end)) == seconds(spans) & set(range(start, end))
