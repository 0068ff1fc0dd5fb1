"""Typed views of raw messages, for code that reads `OHLCV.get_ohlcv_raw` itself.

The client does not use them: it decodes straight from text, in `protocol`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tv_etl.tradingview.models import OHLCVBar


class WebSocketMessage(BaseModel):
    """Any message by its type, with the raw message as `data`."""

    model_config = ConfigDict(frozen=True)

    message_type: str
    data: dict[str, Any]

    @classmethod
    def from_raw(cls, raw: dict[str, Any]) -> "WebSocketMessage":
        """Wrap a raw message; the hello, which has no method, is of type "hello"."""
        return cls(message_type=str(raw.get("m", "hello")), data=raw)


class _Message(BaseModel):
    """A message `{"m": method, "p": [session, ...]}`; build it with `model_validate(raw)`."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    message_type: str = Field(alias="m")
    parameters: list[Any] = Field(alias="p", min_length=2)

    @property
    def session_id(self) -> str:
        return str(self.parameters[0])


class OHLCVResponse(_Message):
    """`du` or `timescale_update`: bars of one or more series. Raises ValueError for any other message."""

    message_type: Literal["du", "timescale_update"] = Field(alias="m")

    @field_validator("parameters")
    @classmethod
    def _check_series(cls, parameters: list[Any]) -> list[Any]:
        if not isinstance(parameters[1], dict):
            raise ValueError("parameter 1 holds no series: expected an object")
        return parameters

    @property
    def ohlcv_bars(self) -> list[OHLCVBar]:
        """The bars of all series in the message, as sent; studies are left out."""
        return [
            OHLCVBar.from_row(point["v"])
            for series in self.parameters[1].values()
            if isinstance(series, dict)
            for point in series.get("s") or []
        ]


class TimescaleUpdateResponse(OHLCVResponse):
    """`timescale_update`: a batch of history, or a new bar."""

    message_type: Literal["timescale_update"] = Field(alias="m")


class QuoteCompletedMessage(_Message):
    """`quote_completed`: the initial state of a symbol's quote has been sent."""

    message_type: Literal["quote_completed"] = Field(alias="m")

    @property
    def symbol(self) -> str:
        """The symbol as it was subscribed."""
        return str(self.parameters[1])
