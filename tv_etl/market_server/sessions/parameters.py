"""The parameters of a client's command: whether a handler can take them, and what is said if it cannot."""

import json
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

from tv_etl.market_server.sessions.ranges import InvalidParameters
from tv_etl.tradingview.protocol import encode_message


def check_parameters(handler: Callable[..., None], params: Sequence[Any]) -> None:
    """Raise InvalidParameters unless a handler can take the parameters: their number, and text where it says so."""
    try:
        bound = signature(handler).bind(*params)
    except TypeError:
        raise InvalidParameters from None
    for name, value in bound.arguments.items():
        parameter = signature(handler).parameters[name]
        values = value if parameter.kind is Parameter.VAR_POSITIONAL else (value,)
        if parameter.annotation is str and not all(isinstance(item, str) for item in values):
            raise InvalidParameters


def critical_error(session: str, reason: str, method: str, params: Sequence[Any]) -> str:
    """The text of a critical_error; `params` are those behind the session id."""
    shown = ", ".join(_shown(value) for value in params)
    return encode_message("critical_error", [session, reason, f'method: {method}. args: "[{shown}]"'])


def _shown(value: Any) -> str:
    """A parameter as the live server prints it in a critical_error: text unquoted, null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(", ", ": ")).replace('"', "")
