"""A re-adjusted history is told from revised bars, whatever the rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.lake.bars import Bars
from tv_etl.lake.readjustment import Readjustment, agrees_at_start, find_readjustment, revised

START = 1_760_000_000


def walk(count: int, *, level: float = 100.0, decimals: int = 2, seed: int = 1, first: int = 0) -> Bars:
    dice = np.random.default_rng(seed)
    closes = level * np.exp(np.cumsum(dice.normal(0, 0.01, count)))
    opens = np.r_[level, closes[:-1]]
    spread = level * dice.uniform(0, 0.01, (2, count))
    values = np.stack(
        [opens, np.maximum(opens, closes) + spread[0], np.minimum(opens, closes) - spread[1], closes, closes]
    )
    values[:4] = np.round(values[:4], decimals)
    values[4] = dice.integers(1_000, 1_000_000, count)
    return Bars(START + 60 * (first + np.arange(count)), values, np.ones(count, np.bool_))


def adjusted(bars: Bars, ratio: float, until: int, *, decimals: int = 2, volume_ratio: float | None = None) -> Bars:
    """As the server serves them after a split or dividend at the bar number `until`."""
    values = bars.values.copy()
    values[:4, :until] = np.round(values[:4, :until] * ratio, decimals)
    values[4, :until] = np.round(values[4, :until] * (1 / ratio if volume_ratio is None else volume_ratio))
    return Bars(bars.times, values, bars.has_volume)


@pytest.mark.parametrize("ratio", [1 / 4, 1 / 2, 2 / 3, 1 / 7, 1 / 20, 10.0, 0.1])
def test_a_split_is_found_with_its_exact_ratio(ratio: float) -> None:
    old = walk(500)
    found = find_readjustment(old, adjusted(old, ratio, 500))
    assert found is not None
    assert found == Readjustment(ratio, 1 / ratio, START + 499 * 60 + 1, found.decimals)


@pytest.mark.parametrize("bars", [3, 5, 20])
def test_a_short_overlap_is_enough(bars: int) -> None:
    old = walk(bars)
    found = find_readjustment(old, adjusted(old, 0.25, bars))
    assert found is not None
    assert (found.ratio, found.volume_ratio) == (0.25, 4.0)


def test_a_dividend_leaves_volumes_alone() -> None:
    old = walk(300)
    found = find_readjustment(old, adjusted(old, 0.99371, 300, volume_ratio=1.0))
    assert found is not None
    assert found.ratio == pytest.approx(0.99371, abs=2e-6)
    assert found.volume_ratio == 1.0


@pytest.mark.parametrize("count", [40, 300])
def test_the_end_of_the_stretch_is_found(count: int) -> None:
    old = walk(count)
    new = adjusted(old, 0.25, count // 4)
    found = find_readjustment(old, new)
    assert found is not None
    assert (found.ratio, found.until) == (0.25, START + 60 * (count // 4))
    assert not len(revised(old, new, found)[0])


def test_of_several_adjustments_the_oldest_bars_ratio_counts() -> None:
    old = walk(300)
    found = find_readjustment(old, adjusted(adjusted(old, 0.5, 200, decimals=6), 0.5, 100, decimals=6))
    assert found is not None
    assert (found.ratio, found.until) == (0.25, START + 60 * 100)


def test_a_bar_that_was_revised_beside_is_a_revision() -> None:
    old = walk(300)
    new = adjusted(old, 0.25, 300)
    new.values[3, 150] += 1.0
    found = find_readjustment(old, new)
    assert found is not None
    assert found.until == START + 299 * 60 + 1
    before, after = revised(old, new, found)
    assert (before.times.tolist(), after.values[3].tolist()) == ([START + 150 * 60], [new.values[3, 150]])


@pytest.mark.parametrize("which", [slice(0, 1), slice(0, 2), slice(5, 300), slice(299, 300)])
def test_revised_bars_are_no_adjustment(which: slice) -> None:
    """One or two bars prove no ratio, and where the oldest bars agree nothing was re-adjusted."""
    old = walk(300)
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[:4, which] *= 1.1
    assert find_readjustment(old, new) is None
    assert len(revised(old, new, None)[0]) == len(range(300)[which])


def test_bars_without_a_price_of_their_own_prove_nothing() -> None:
    old = walk(50)
    old.values[:4] = 10.0
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[:4] = 11.0
    assert find_readjustment(old, new) is None


def test_noise_is_no_ratio() -> None:
    old = walk(300)
    assert find_readjustment(old, walk(300, seed=2)) is None


def test_what_does_not_overlap_is_not_compared() -> None:
    old, new = walk(10), walk(10, first=10)
    assert find_readjustment(old, new) is None
    assert agrees_at_start(old, new)
    assert not len(revised(old, new, None)[0])


def test_the_oldest_common_bar_tells_whether_to_look_further_back() -> None:
    old = walk(10)
    assert agrees_at_start(old, walk(10))
    assert agrees_at_start(old, adjusted(walk(10), 0.5, 0))
    assert not agrees_at_start(old, adjusted(walk(10), 0.5, 1))
    assert not agrees_at_start(old, Bars(old.times, old.values, np.zeros(10, np.bool_)))


@settings(max_examples=200)
@given(
    ratio=st.sampled_from([1 / 4, 1 / 3, 2 / 3, 1 / 10, 3.0, 0.97, 0.9912]),
    level=st.sampled_from([3.0, 47.0, 310.0, 98_000.0]),
    decimals=st.sampled_from([2, 4, 6]),
    count=st.integers(20, 400),
    seed=st.integers(0, 1_000),
)
def test_rescaled_bars_are_the_servers_to_its_rounding(
    ratio: float, level: float, decimals: int, count: int, seed: int
) -> None:
    """What lies before the window comes out as the server would have served it."""
    whole = walk(count + 300, level=level, decimals=decimals, seed=seed)
    served = adjusted(whole, ratio, count + 290, decimals=decimals)
    window = served.take(slice(300, None))
    found = find_readjustment(whole, window)
    assert found is not None
    rescaled = found.rescale(whole).take(slice(0, 300))
    tolerance = 10.0**-decimals * 1.01 + 2e-5 * level * (ratio not in (1 / 4, 1 / 3, 2 / 3, 1 / 10, 3.0))
    assert np.abs(rescaled.values[:4] - served.values[:4, :300]).max() <= tolerance


def moved(bars: Bars, shift: float, until: int) -> Bars:
    """As the server serves a back-adjusted future after its next contract took over at the bar number `until`."""
    values = bars.values.copy()
    values[:4, :until] = np.round(values[:4, :until] + shift, 10)
    return Bars(bars.times, values, bars.has_volume)


@pytest.mark.parametrize("shift", [10.2, -0.3, 0.1])
@pytest.mark.parametrize("level", [2_650.0, 20.0])
def test_the_next_contract_of_a_future_moves_the_older_ones(shift: float, level: float) -> None:
    old = walk(300, level=level, decimals=1)
    new = moved(old, shift, 200)
    found = find_readjustment(old, new, is_backadjusted=True)
    assert found is not None
    assert (found.ratio, found.shift, found.volume_ratio, found.until) == (1.0, shift, 1.0, START + 200 * 60)
    assert (found.rescale(old).values == new.values).all()
    assert not len(revised(old, new, found)[0])


def test_older_prices_are_moved_by_the_amount_and_not_by_a_ratio_that_fits_a_day() -> None:
    """A quiet day: over it the amount looks like a ratio, a year before it does not."""
    day = walk(30, level=2_650.0, decimals=1)
    day.values[:4] = np.round(2_650.0 + (day.values[:4] - 2_650.0) / 500, 1)
    new = moved(day, 10.0, 30)
    by_ratio, by_amount = find_readjustment(day, new), find_readjustment(day, new, is_backadjusted=True)
    assert by_ratio is not None and by_amount is not None
    year_before = walk(5, level=2_000.0, decimals=1, first=-500_000)
    assert (by_amount.rescale(year_before).values[:4] == np.round(year_before.values[:4] + 10.0, 1)).all()
    assert abs(by_ratio.rescale(year_before).values[3, 0] - year_before.values[3, 0] - 10.0) > 1


def test_a_revised_bar_of_a_future_is_no_new_contract() -> None:
    old = walk(300, decimals=1)
    new = moved(old, 2.0, 1)
    assert find_readjustment(old, new, is_backadjusted=True) is None
    assert len(revised(old, new, None)[0]) == 1


def test_a_readjustment_says_what_it_did() -> None:
    at = 1_793_620_800
    assert str(Readjustment(0.25, 4.0, at, 2)) == "× 0.25 (volume × 4) before 2026-11-02 12:00Z"
    assert str(Readjustment(1.0, 1.0, at, 10, -10.2)) == "-10.2 before 2026-11-02 12:00Z"
