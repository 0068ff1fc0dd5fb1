"""What may be asked of a screener."""

from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.tradingview.scan_request import ScanRequest


@pytest.mark.parametrize(
    "wrong",
    [{"market": "../x"}, {"limit": 0}, {"colums": []}, {"filters": [{"left": "x", "operation": "like"}]},
     {"sort": {"by": "x", "order": "up"}}],
)  # fmt: skip
def test_a_request_that_cannot_be_asked_is_refused_before(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScanRequest.model_validate(wrong)
