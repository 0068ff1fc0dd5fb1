"""The witness finds what was not scaled, and takes nothing that a market does for it."""

import numpy as np
import pytest

from tv_etl.lake.bars import Bars
from tv_etl.lake.witness import suspicious_steps

START = 1_760_000_000


def walk(count: int, seed: int, *, sigma: float = 0.002, level: float = 100.0) -> Bars:
    dice = np.random.default_rng(seed)
    closes = level * np.exp(np.cumsum(dice.normal(0, sigma, count)))
    opens = np.r_[level, closes[:-1]] * np.exp(dice.normal(0, sigma / 4, count))
    reach = np.abs(dice.normal(0, sigma / 2, (2, count)))
    values = np.stack(
        [opens, np.maximum(opens, closes) * (1 + reach[0]), np.minimum(opens, closes) * (1 - reach[1]), closes,
         np.exp(dice.normal(10, 0.5, count))]
    )  # fmt: skip
    return Bars(START + 60 * np.arange(count), values, np.ones(count, np.bool_))


def scaled(bars: Bars, ratio: float, first: int, last: int) -> Bars:
    """The bars with a stretch of another scale, volumes included."""
    values = bars.values.copy()
    values[:4, first:last] *= ratio
    values[4, first:last] /= ratio
    return Bars(bars.times, values, bars.has_volume)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2 / 3, 10.0, 0.05])
@pytest.mark.parametrize("has_volume", [True, False])
def test_a_stretch_that_was_not_scaled_has_two_ends(ratio: float, has_volume: bool) -> None:
    bars = scaled(walk(5_000, 1), ratio, 150, 4_850)
    found = suspicious_steps(bars if has_volume else Bars(bars.times, bars.values, np.zeros(5_000, np.bool_)))
    assert [(step.time - START) // 60 for step in found] == [150, 4_850]
    assert [step.ratio for step in found] == pytest.approx([ratio, 1 / ratio])


def test_random_walks_are_not_suspected() -> None:
    """Ten thousand, from a quiet day's minutes to a memecoin's days."""
    dice = np.random.default_rng(5)
    suspected = [
        seed for seed in range(10_000) if suspicious_steps(walk(120, seed, sigma=float(10 ** dice.uniform(-3.5, -0.4))))
    ]
    assert suspected == []


def test_earnings_gaps_and_crashes_are_not_suspected() -> None:
    """The market halves over night, and trades more than ever: no volume is halved or doubled by that alone."""
    suspected = []
    for seed in range(2_000):
        dice = np.random.default_rng(seed)
        bars = walk(120, seed, sigma=0.015)
        gap = float(np.exp(dice.uniform(-1.0, 1.0)))
        values = bars.values.copy()
        values[:4, 60:] *= gap
        values[4, 60:] *= np.exp(dice.uniform(1.5, 3.0) * np.exp(-np.arange(60) / 5))
        if suspicious_steps(Bars(bars.times, values, bars.has_volume)):
            suspected.append(seed)
    assert len(suspected) <= 20, "a gap of exactly a split's ratio, with volumes that fit, is worth a look"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_bars_tell_nothing(count: int) -> None:
    assert suspicious_steps(walk(max(count, 1), 1).take(slice(0, count))) == []
