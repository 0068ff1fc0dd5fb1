"""Prices are converted to a currency that there is, or the code is refused with what would be right."""

import re

import pytest

from tv_etl.tradingview.currencies import check_currency

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("code", ["USD", "EUR", "INR", "CNH", "XAU", "GBX", "XTVCUSDT", "XTVCBTC"])
def test_a_code_in_use_passes_unchanged(code: str) -> None:
    assert check_currency(code) == code


@pytest.mark.parametrize(
    ("code", "better"),
    [("eur", "EUR"), ("Inr", "INR"), ("XXX", "EUR"), ("euro", "EUR"), ("", "EUR"), ("USD ", "EUR"), ("XTVC", "EUR")],
)
def test_any_other_is_refused_with_one_that_would_be_right(code: str, better: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"currency {code!r}: expected a code of ISO 4217 such as {better},")
    ):
        check_currency(code)
