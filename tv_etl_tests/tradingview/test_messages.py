"""Typed views of recorded messages."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.tradingview.frames import PacketDecoder
from tv_etl.tradingview.messages import (
    OHLCVResponse,
    QuoteCompletedMessage,
    TimescaleUpdateResponse,
    WebSocketMessage,
)
from tv_etl_tests.recordings import recording

pytestmark = pytest.mark.pure


def recorded(name: str, method: str | None) -> Any:
    payloads = [payload for text in recording(name)["frames"] for payload in PacketDecoder().feed(text)]
    return next(m for m in map(json.loads, payloads) if m.get("m") == method)


def test_history_is_read() -> None:
    raw = recorded("mktcli-20260821-history-ok", "timescale_update")
    for view in (OHLCVResponse.model_validate(raw), TimescaleUpdateResponse.model_validate(raw)):
        assert view.session_id == "cs_m4euhx"
        assert [bar.close for bar in view.ohlcv_bars] == [305.93, 305.59, 310.03, 316.83, 311.3]


def test_an_update_with_studies_only_has_no_bars() -> None:
    view = OHLCVResponse.model_validate(recorded("tvrs2023-10-du", "du"))
    assert (view.message_type, view.ohlcv_bars) == ("du", [])


def test_quote_completed_names_its_symbol() -> None:
    view = QuoteCompletedMessage.model_validate({"m": "quote_completed", "p": ["qs_1", "NASDAQ:AAPL"]})
    assert (view.session_id, view.symbol) == ("qs_1", "NASDAQ:AAPL")


def test_any_message_can_be_wrapped() -> None:
    hello = recorded("mktcli-20260821-history-ok", None)
    assert WebSocketMessage.from_raw(hello).message_type == "hello"
    completed = WebSocketMessage.from_raw({"m": "series_completed", "p": []})
    assert (completed.message_type, completed.data) == ("series_completed", {"m": "series_completed", "p": []})


@pytest.mark.parametrize(
    ("view", "raw"),
    [
        (OHLCVResponse, {"m": "qsd", "p": ["qs_1", {}]}),
        (OHLCVResponse, {"m": "du", "p": ["cs_1"]}),
        (OHLCVResponse, {"m": "du", "p": ["cs_1", []]}),
        (TimescaleUpdateResponse, {"m": "du", "p": ["cs_1", {}]}),
        (QuoteCompletedMessage, {"m": "quote_completed", "p": ["qs_1"]}),
    ],
)
def test_a_message_of_another_kind_is_refused(view: Any, raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        view.model_validate(raw)
