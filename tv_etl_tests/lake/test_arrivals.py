"""When bars came is kept for each of them, in any order they come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tv_etl.lake.arrivals import decode_arrivals, encode_arrivals, merged_arrivals
from tv_etl.lake.errors import DamagedFileError


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 2**53)), min_size=1, max_size=40))
def test_what_is_encoded_is_decoded(runs: list[tuple[int, int]]) -> None:
    came_at = np.repeat(np.array([at for _, at in runs]), [bars for bars, _ in runs])
    assert decode_arrivals(encode_arrivals(came_at), len(came_at), "").tolist() == came_at.tolist()


@given(st.lists(st.sets(st.integers(0, 60), min_size=1), min_size=1, max_size=8))
def test_each_bar_came_with_the_first_that_brought_it(steps: list[set[int]]) -> None:
    first: dict[int, int] = {}
    known, came_at = np.empty(0, np.int64), np.empty(0, np.int64)
    for now, times in enumerate(steps, start=1):
        first = {**dict.fromkeys(times, now), **first}
        after = np.array(sorted(first))
        known, came_at = after, merged_arrivals(known, came_at, after, now)
    assert dict(zip(known.tolist(), came_at.tolist(), strict=True)) == first


def test_a_month_of_minutes_costs_little() -> None:
    came_at = np.repeat(np.arange(8_640) * 300_000_000 + np.random.default_rng(1).integers(0, 3_000_000, 8_640), 5)
    assert len(encode_arrivals(came_at)) < 30_000, "of a file of a megabyte"


def test_a_file_that_tells_nothing_had_its_bars_from_the_beginning() -> None:
    assert decode_arrivals(b"", 3, "").tolist() == [0, 0, 0]


@pytest.mark.parametrize(("block", "reason"), [(b"PAR1", "cannot be read"), (encode_arrivals(np.arange(4)), "4 bars")])
def test_what_is_not_of_these_bars_is_damage(block: bytes, reason: str) -> None:
    with pytest.raises(DamagedFileError, match=rf"^all\.parquet: .*{reason}"):
        decode_arrivals(block, 3, "all.parquet")
