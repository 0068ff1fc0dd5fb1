import pytest

from tv_etl.market_server.market.identifiers import cusip_of, figi_check_digit, figi_of

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(("isin", "cusip"), [("US0378331005", "037833100"), ("INE101A01026", None)])
def test_american_isins_hold_a_cusip(isin: str, cusip: str | None) -> None:
    assert cusip_of(isin) == cusip


@pytest.mark.parametrize("figi", ["BBG000B9XRY4", "BBG001BMZMW4", "BBG01LLNJMW4"])
def test_check_digits_are_the_recorded_ones(figi: str) -> None:
    assert figi_check_digit(figi[:-1]) == figi[-1]


def test_figis_differ_by_name_and_have_the_form() -> None:
    figis = [figi_of(f"US:S{number}") for number in range(1_000)]
    assert len(set(figis)) == 1_000
    assert all(len(figi) == 12 and figi_check_digit(figi[:-1]) == figi[-1] for figi in figis)
    assert figi_of("US:S1") == figis[1]
