"""Prices are written as their exchange does."""

from typing import Any

import pytest

from tv_etl.cli.price_format import MAX_DECIMALS, PriceFormat

pytestmark = pytest.mark.pure


def facts(scale: object, minmove2: object = 0, fractional: object = False) -> dict[str, Any]:
    return {"pricescale": scale, "minmov": 1, "minmove2": minmove2, "fractional": fractional}


@pytest.mark.parametrize(
    ("fields", "price", "written"),
    [
        (facts(100), 1_234.5, "1,234.50"),
        (facts(1), 71_200.0, "71,200"),
        (facts(100_000), 1.08523, "1.08523"),
        (facts(10**9), 1.2e-8, "0.000000012"),
        (facts(64), 112.015625, "112.015625"),  # a 64th has an end
        (facts(20), 0.35, "0.35"),
        (facts(3), 0.3333333, "0.3"),  # a third has none
        (facts(32, 0, True), 133 + 21 / 32, "133'21"),
        (facts(8, 0, True), 450.25, "450'2"),  # grains: eighths
        (facts(64, 2, True), 112.015625, "112'00'5"),  # notes: halves of a 32nd
        (facts(64, 2, True), 112.0, "112'00'0"),
        (facts(128, 4, True), 119 + 16.25 / 32, "119'16'25"),
        (facts(128, 4, "true"), 119 + 31.75 / 32, "119'31'75"),
        (facts(320, 10, True), 119 + 16.3 / 32, "119'16'3"),
        (facts(64, 2, True), 111.99999, "112'00'0"),  # to the nearest tick, whole ones included
        (facts(64, 3, True), 112.015625, "112'01"),  # 64 parts have no thirds
    ],
)
def test_a_price_is_written_as_its_exchange_does(fields: dict[str, Any], price: float, written: str) -> None:
    assert PriceFormat.of(fields).write(price) == written


def test_a_change_has_its_sign() -> None:
    notes = PriceFormat.of(facts(64, 2, True))
    assert [notes.write(change, "+") for change in (-0.015625, 0.015625, 0.0)] == ["-0'00'5", "+0'00'5", "+0'00'0"]
    assert PriceFormat.of(facts(64)).write(-0.015625, "+") == "-0.015625"


@pytest.mark.parametrize("scale", [None, "x", 0, -5, 0.5, 64.5, float("nan"), float("inf"), 1e99, True])
def test_a_scale_that_makes_no_sense_means_hundredths(scale: object) -> None:
    assert PriceFormat.of(facts(scale, 2, True)).write(1.5) == "1.50"


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 1e300, -1e-300])
def test_any_number_is_written(price: float) -> None:
    for fields in (facts(100), facts(64, 2, True), facts(10**12)):
        assert PriceFormat.of(fields).write(price)
    assert PriceFormat.of(facts(10**12)).decimals == MAX_DECIMALS
