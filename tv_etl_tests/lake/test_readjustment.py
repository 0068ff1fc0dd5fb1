"""A re-adjusted history is told from revised bars, whatever the rounding."""

from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.lake.bars import Bars
from tv_etl.lake.readjustment import (
    Readjustment,
    Unproven,
    agrees_at_start,
    find_readjustment,
    finest_decimals,
    overlap,
    revised,
)

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


def readjusted(old: Bars, new: Bars, **options: Any) -> Readjustment:
    found = find_readjustment(old, new, **options)
    assert isinstance(found, Readjustment), found
    return found


def unproven(old: Bars, new: Bars, **options: Any) -> str:
    found = find_readjustment(old, new, **options)
    assert isinstance(found, Unproven), found
    return found.reason


@pytest.mark.parametrize("ratio", [1 / 4, 1 / 2, 2 / 3, 1 / 7, 1 / 20, 10.0, 0.1, 1_000.0])
def test_a_split_is_found_with_its_exact_ratio(ratio: float) -> None:
    old = walk(500)
    found = readjusted(old, adjusted(old, ratio, 500))
    assert found == Readjustment(ratio, 1 / ratio, START + 499 * 60 + 1, found.decimals)


@pytest.mark.parametrize("bars", [3, 5, 20])
def test_a_short_overlap_is_enough(bars: int) -> None:
    old = walk(bars)
    found = readjusted(old, adjusted(old, 0.25, bars))
    assert (found.ratio, found.volume_ratio) == (0.25, 4.0)


def test_a_dividend_leaves_volumes_alone() -> None:
    old = walk(300)
    found = readjusted(old, adjusted(old, 0.99371, 300, volume_ratio=1.0))
    assert found.ratio == pytest.approx(0.99371, abs=2e-6)
    assert found.volume_ratio == 1.0


@pytest.mark.parametrize(("count", "split"), [(7, 3), (40, 10), (300, 75)])
def test_the_end_of_the_stretch_is_found(count: int, split: int) -> None:
    old = walk(count)
    new = adjusted(old, 0.25, split)
    found = readjusted(old, new)
    assert (found.ratio, found.until) == (0.25, START + 60 * split)
    assert not len(revised(old, new, found)[0])


def test_of_several_adjustments_the_oldest_bars_ratio_counts() -> None:
    old = walk(300)
    found = readjusted(old, adjusted(adjusted(old, 0.5, 200, decimals=6), 0.5, 100, decimals=6))
    assert (found.ratio, found.until) == (0.25, START + 60 * 100)


def test_a_bar_that_was_revised_beside_is_a_revision() -> None:
    old = walk(300)
    new = adjusted(old, 0.25, 300)
    new.values[3, 150] += 1.0
    found = readjusted(old, new)
    assert found.until == START + 299 * 60 + 1
    before, after = revised(old, new, found)
    assert (before.times.tolist(), after.values[3].tolist()) == ([START + 150 * 60], [new.values[3, 150]])


def test_beside_a_split_a_bar_is_revised_by_more_than_its_rounding() -> None:
    old = walk(300)
    new = adjusted(old, 0.25, 300)
    new.values[3, 150] += 0.02
    assert revised(old, new, readjusted(old, new))[0].times.tolist() == [START + 150 * 60]


@pytest.mark.parametrize("which", [slice(5, 300), slice(299, 300), slice(100, 110)])
def test_revised_bars_are_no_adjustment(which: slice) -> None:
    """Where the oldest bars agree nothing was re-adjusted."""
    old = walk(300)
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[:4, which] *= 1.1
    assert find_readjustment(old, new) is None
    assert len(revised(old, new, None)[0]) == len(range(300)[which])


@pytest.mark.parametrize("bars", [1, 2])
def test_the_oldest_bars_alone_on_another_scale_prove_nothing(bars: int) -> None:
    """Are they revised, or the last before a split?"""
    old = walk(300)
    assert "by no one ratio" in unproven(old, adjusted(old, 0.25, bars))


def test_one_price_of_the_oldest_bar_is_revised_and_its_scale_is_not() -> None:
    old = walk(300)
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[3, 0] += 0.25
    assert find_readjustment(old, new) is None


def test_bars_without_a_price_of_their_own_prove_no_ratio_for_higher_ones() -> None:
    old = walk(50)
    old.values[:4] = 10.0
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[:4] = 11.0
    assert "too few or too coarse" in unproven(old, new, highest_older=lambda: 200.0)


@pytest.mark.parametrize(("share", "is_proven"), [(0.15, True), (0.25, False)])
def test_where_many_bars_were_revised_the_others_prove_nothing(share: float, is_proven: bool) -> None:
    old = walk(60, seed=2)
    new, dice = Bars(old.times, old.values.copy(), old.has_volume), np.random.default_rng(2)
    some = 3 + dice.choice(57, int(share * 57), replace=False)
    new.values[:4, some] = np.round(new.values[:4, some] + 0.01 * dice.integers(-3, 4, (4, len(some))), 2)
    if is_proven:
        assert find_readjustment(old, new, highest_older=lambda: 100.0) is None
    else:
        assert "too few or too coarse" in unproven(old, new, highest_older=lambda: 100.0)


def test_noise_is_no_ratio() -> None:
    old = walk(300)
    assert "by no one ratio" in unproven(old, walk(300, seed=2))


def test_what_does_not_overlap_is_not_compared() -> None:
    old, new = walk(10), walk(10, first=10)
    assert unproven(old, new) == "no bar is both stored and served"
    assert agrees_at_start(old, new)
    assert not len(revised(old, new, None)[0])


# --- the faults of the field, each with its right value -----------------------------------------------------------


def steps(*prices: float, volume: float = 1_000.0) -> Bars:
    """A bar for each price, which all four are."""
    values = np.array([[*[price] * 4, volume + number] for number, price in enumerate(prices)]).T
    return Bars(START + 60 * np.arange(len(prices)), values, np.ones(len(prices), np.bool_))


@pytest.mark.parametrize("has_volume", [True, False])
def test_few_prices_are_split(has_volume: bool) -> None:
    old = steps(1.00, 1.01, 1.00, 1.01)
    new = adjusted(old, 0.5, 4, decimals=3)
    if not has_volume:
        old, new = (Bars(each.times, each.values, np.zeros(4, np.bool_)) for each in (old, new))
    found = readjusted(old, new, highest_older=lambda: 1.3)
    assert (found.ratio, found.volume_ratio) == (0.5, 2.0)


def test_a_cheap_stock_splits_in_reverse() -> None:
    """A tick of 0.01 and 0.05 % a minute at a dollar: the oldest fifty bars have hardly a price of their own."""
    missed = []
    for seed in range(200):
        dice = np.random.default_rng(seed)
        closes = np.exp(np.cumsum(dice.normal(0, 5e-4, 300)))
        opens = np.r_[1.0, closes[:-1]]
        exact = np.stack([opens, np.maximum(opens, closes), np.minimum(opens, closes), closes])
        volumes = dice.integers(1_000, 1_000_000, 300)
        times, is_traded = START + 60 * np.arange(300), np.ones(300, np.bool_)
        old = Bars(times, np.vstack([np.round(exact, 2), volumes]), is_traded)
        new = Bars(times, np.vstack([np.round(exact * 10, 2), np.round(volumes / 10)]), is_traded)
        found = find_readjustment(old, new, highest_older=lambda: 3.0)
        if not isinstance(found, Readjustment) or (found.ratio, found.volume_ratio) != (10.0, 0.1):
            missed.append((seed, found))
    assert missed == []


@pytest.mark.parametrize("oldest", [1, 3, 10])
def test_a_correction_in_the_oldest_bars_hides_no_split(oldest: int) -> None:
    old = walk(200)
    new = adjusted(old, 0.25, 200)
    dice = np.random.default_rng(3)
    new.values[:4, :oldest] = np.round(new.values[:4, :oldest] * dice.uniform(0.9, 1.1, (4, oldest)), 2)
    found = readjusted(old, new, highest_older=lambda: 500.0)
    assert (found.ratio, found.volume_ratio, found.until) == (0.25, 4.0, START + 199 * 60 + 1)


def test_a_reused_ticker_is_another_instrument() -> None:
    old, new = walk(90, level=13.0), walk(90, level=240.0, seed=5)
    assert "by no one ratio" in unproven(old, new)


def test_a_split_and_a_dividend_between_two_fetches_have_a_ratio_each() -> None:
    old = walk(400)
    found = readjusted(old, adjusted(old, 0.25 * 0.9871, 400, volume_ratio=4.0), highest_older=lambda: 120.0)
    assert found.ratio == pytest.approx(0.25 * 0.9871, abs=2e-6)
    assert found.volume_ratio == 4.0


def test_a_ratio_known_at_five_is_not_known_at_two_hundred() -> None:
    """100/101 explains every price of the overlap as well, and is up to eight ticks wrong where prices were high."""
    old = walk(12, level=5.0)
    new = adjusted(old, 0.9905, 12, volume_ratio=1.0)
    assert "known only as" in unproven(old, new, highest_older=lambda: 200.0, has_dividends=True)
    whole = walk(400, level=200.0)
    found = readjusted(whole, adjusted(whole, 0.9905, 400, volume_ratio=1.0), highest_older=lambda: 200.0)
    assert abs(found.ratio - 0.9905) * 200 < 0.005


def test_on_the_mean_three_bars_deny_a_split_that_each_price_allows() -> None:
    """A tick of 0.05, 2:1 and a dividend of 0.1 %: it hides in the rounding of each, and not of all."""
    old = walk(3)
    old.values[:4] = 20 + 0.05 * np.arange(12).reshape(4, 3)
    assert readjusted(old, adjusted(old, 0.5, 3)).ratio == 0.5
    assert "not on the mean" in unproven(old, adjusted(old, 0.49938, 3, volume_ratio=2.0))


def test_a_dividend_is_known_as_well_as_its_prices_tell() -> None:
    """Twelve bars at a hundred: to a part in 160,000, if none of them is doubted without a reason."""
    found = [
        find_readjustment(old, adjusted(old, 0.9905, 12, volume_ratio=1.0), highest_older=lambda: 800.0)
        for old in (walk(12, seed=seed) for seed in range(20))
    ]
    ratios = [each.ratio for each in found if isinstance(each, Readjustment)]
    assert len(ratios) >= 10
    assert max(abs(ratio - 0.9905) for ratio in ratios) * 800.0 <= 0.005


def test_a_dividend_of_a_plain_ratio_is_no_split_where_volumes_are_too_small_to_tell() -> None:
    old = walk(100)
    old.values[4] = np.random.default_rng(1).integers(1, 12, 100)
    found = readjusted(old, adjusted(old, 0.98, 100, volume_ratio=1.0), highest_older=lambda: 120.0)
    assert (found.ratio, found.volume_ratio) == (0.98, 1.0)


def test_few_prices_are_not_taken_for_exact() -> None:
    """Five of them may all have been rounded one way, however many volumes they come with."""
    dice = np.random.default_rng(59)
    exact = (10 + np.sort(dice.uniform(0, 0.3, 5)))[dice.integers(0, 5, 30)]
    old, new = steps(*np.round(exact, 2)), steps(*np.round(exact * 0.49, 2))
    old.values[4] = new.values[4] = dice.integers(1_000, 1_000_000, 30)
    assert "known only as" in unproven(old, new, highest_older=lambda: 12.0, has_dividends=True)


@pytest.mark.parametrize("revised_bar", [None, 5])
def test_of_coarse_prices_all_have_to_agree(revised_bar: int | None) -> None:
    """A tick is a tenth of each: that one bar is of another ratio makes the ratio of the others a guess."""
    old = steps(*[0.10, 0.11, 0.12, 0.10, 0.11] * 2)
    new = adjusted(old, 0.5, 10, decimals=2)
    if revised_bar is not None:
        new.values[:4, revised_bar] = 0.09
    old, new = (Bars(each.times, each.values, np.zeros(10, np.bool_)) for each in (old, new))
    if revised_bar is None:
        assert readjusted(old, new).ratio == 0.5
    else:
        assert "too few or too coarse" in unproven(old, new)


def test_whole_prices_of_one_and_two_tell_no_ratio() -> None:
    """Half of them are as they were, and to the rounding of such prices all became × 1.5."""
    old, new = steps(1.0, 1.0, 1.0, 1.5), steps(2.0, 1.0, 1.0, 2.0)
    old, new = (Bars(each.times, each.values, np.zeros(4, np.bool_)) for each in (old, new))
    assert "too few or too coarse" in unproven(old, new)


def test_a_plain_fraction_may_be_chance() -> None:
    """Four prices of half a dollar allow 2/3, which it is not."""
    old, new = (
        Bars(each.times, each.values, np.zeros(4, np.bool_))
        for each in (steps(0.50, 0.51, 0.52, 0.50), adjusted(steps(0.50, 0.51, 0.52, 0.50), 0.662, 4))
    )
    assert "known only as" in unproven(old, new, highest_older=lambda: 200.0)


def test_whole_prices_hide_no_dividend_beside_a_split() -> None:
    old = walk(300, level=1_000.0, decimals=0)
    new = adjusted(old, 0.49, 300, decimals=0, volume_ratio=2.0)
    found = readjusted(old, new, highest_older=lambda: 1_200.0, has_dividends=True)
    assert found.ratio == pytest.approx(0.49, abs=1e-4)
    assert found.volume_ratio == 2.0


def test_coarse_ticks_are_seen() -> None:
    old = walk(300, level=40.0)
    old.values[:4] = np.round(old.values[:4] * 4) / 4
    new = adjusted(old, 0.5, 300)
    new.values[:4] = np.round(new.values[:4] * 4) / 4
    assert readjusted(old, new, highest_older=lambda: 60.0).ratio == 0.5


def test_a_series_as_it_was_has_no_ratio_however_coarse() -> None:
    old = steps(*[0.02, 0.03] * 50)
    assert find_readjustment(old, old, highest_older=lambda: 1_000.0) is None


# --- the oldest bars ----------------------------------------------------------------------------------------------


def test_the_oldest_common_bar_tells_whether_to_look_further_back() -> None:
    old = walk(10)
    assert agrees_at_start(old, walk(10))
    assert agrees_at_start(old, adjusted(walk(10), 0.5, 0))
    assert not agrees_at_start(old, adjusted(walk(10), 0.5, 1))
    assert not agrees_at_start(old, Bars(old.times, old.values, np.zeros(10, np.bool_)))


def served(dice: np.random.Generator, *, is_revised: bool) -> tuple[Bars, Bars, int, float, bool]:
    """Bars at a price and a tick of any kind, as stored and as served after a split, a dividend or both.

    Before the place returned all were stored and are served no more; and the factor, and if there was a dividend.
    """
    level = 10 ** dice.uniform(-2, 5)
    tick = dice.choice([0.01, 0.01, 0.05, 0.25, 1.0, 0.0001]) if level > 1 else dice.choice([0.01, 0.001, 0.0001])
    tick = tick if level / tick >= 8 else 10 ** np.floor(np.log10(level / 50))
    older, count = int(dice.integers(50, 1_500)), int(dice.choice([5, 6, 10, 30, 100, 400]))
    closes = level * np.exp(np.cumsum(dice.normal(dice.choice([0, 2e-3, -2e-3]), 0.005, older + count))[::-1])
    opens, reach = np.r_[closes[0], closes[:-1]], np.abs(dice.normal(0, 0.0025, (2, older + count)))
    exact = np.stack(
        [opens, np.maximum(opens, closes) * (1 + reach[0]), np.minimum(opens, closes) * (1 - reach[1]), closes]
    )
    split = Fraction(dice.choice(["1/2", "1/4", "1/3", "2/3", "1/10", "1/20", "10", "5", "20/21", "1"]))
    has_dividend = split == 1 or dice.random() < 0.3
    factor = float(split) * (1 - dice.uniform(0.0005, 0.05) if has_dividend else 1)
    until = older + (count if dice.random() < 0.5 else int(dice.integers(3, count + 1)))
    is_before = np.arange(older + count) < until
    volumes = dice.integers(0, 10 ** int(dice.integers(1, 7)), older + count).astype(float)

    def rounded(prices: Any) -> Any:
        return np.round(np.round(prices / tick) * tick, 10)

    old, raw = rounded(exact), dice.random() < 0.5
    new = rounded((old if raw else exact) * np.where(is_before, factor, 1))
    if is_revised:
        some = older + dice.choice(count, max(1, count // 12), replace=False)
        new[3, some] = rounded(new[3, some] * (1 + dice.normal(0, 0.01, len(some))) + tick)
    times, known = 60 * np.arange(older + count), np.ones(older + count, np.bool_)
    stored = Bars(times, np.vstack([old, volumes]), known)
    fresh = Bars(times, np.vstack([new, np.round(volumes * np.where(is_before, float(1 / split), 1))]), known)
    return stored, fresh, older, max(tick, tick * factor), has_dividend


@pytest.mark.parametrize("is_revised", [False, True])
def test_no_older_bar_is_off_by_more_than_its_rounding_or_nothing_is_said(is_revised: bool) -> None:
    outcomes = dict.fromkeys((Readjustment, Unproven, type(None)), 0)
    for seed in range(600):
        stored, fresh, older, tick, has_dividend = served(np.random.default_rng(seed), is_revised=is_revised)
        window = fresh.take(slice(older, None))
        highest = float(stored.values[:4, :older].max())
        found = find_readjustment(stored, window, highest_older=partial(float, highest), has_dividends=has_dividend)
        outcomes[type(found)] += 1
        is_alike = bool((overlap(stored, window)[0].values[:4] == window.values[:4]).all())
        if isinstance(found, Unproven) or is_alike:
            continue
        after = stored if found is None else found.rescale(stored)
        off = np.abs(after.values[:, :older] - fresh.values[:, :older])
        assert off[:4].max() <= 2 * tick, (seed, found)
        allowed = 0.5 + 0.5 * (1 if found is None else found.volume_ratio) + 1e-6 * fresh.values[4, :older]
        assert (off[4] <= allowed).all(), (seed, found)
    assert outcomes[Readjustment] > 300, "most are found"


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
    found = find_readjustment(whole, window, highest_older=lambda: float(whole.values[:4, :300].max()))
    if isinstance(found, Unproven):
        return  # nothing is scaled on doubt
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
    found = readjusted(old, new, is_backadjusted=True)
    assert (found.ratio, found.shift, found.volume_ratio, found.until) == (1.0, shift, 1.0, START + 200 * 60)
    assert (found.rescale(old).values == new.values).all()
    assert not len(revised(old, new, found)[0])


def test_a_future_is_moved_by_an_amount_finer_than_its_prices() -> None:
    old = walk(300, level=20.0, decimals=1)
    assert readjusted(old, moved(old, 0.25, 300), is_backadjusted=True).shift == 0.25


def test_older_prices_are_moved_by_the_amount_and_not_by_a_ratio_that_fits_a_day() -> None:
    """A quiet day: over it the amount looks like a ratio, a year before it does not."""
    day = walk(30, level=2_650.0, decimals=1)
    day.values[:4] = np.round(2_650.0 + (day.values[:4] - 2_650.0) / 500, 1)
    new = moved(day, 10.0, 30)
    by_ratio, by_amount = readjusted(day, new), readjusted(day, new, is_backadjusted=True)
    year_before = walk(5, level=2_000.0, decimals=1, first=-500_000)
    assert (by_amount.rescale(year_before).values[:4] == np.round(year_before.values[:4] + 10.0, 1)).all()
    assert abs(by_ratio.rescale(year_before).values[3, 0] - year_before.values[3, 0] - 10.0) > 1


def test_a_revised_bar_of_a_future_is_no_new_contract() -> None:
    old = walk(300, decimals=1)
    new = Bars(old.times, old.values.copy(), old.has_volume)
    new.values[:4, 150] += 2.0
    assert find_readjustment(old, new, is_backadjusted=True) is None
    assert len(revised(old, new, None)[0]) == 1
    assert "by no one ratio" in unproven(old, moved(old, 2.0, 1), is_backadjusted=True)


def test_a_readjustment_says_what_it_did() -> None:
    at = 1_793_620_800
    assert str(Readjustment(0.25, 4.0, at, 2)) == "× 0.25 (volume × 4) before 2026-11-02 12:00Z"
    assert str(Readjustment(1.0, 1.0, at, 10, -10.2)) == "-10.2 before 2026-11-02 12:00Z"


def test_the_digits_of_volumes_are_none_of_prices() -> None:
    bars = walk(100)
    bars.values[4] += 0.12345678
    assert finest_decimals(bars) == 2
    assert readjusted(bars, adjusted(bars, 0.25, 100)).decimals == 2
