from dataclasses import fields
from typing import Any

import pytest

from tv_etl.market_server.options import ServerOptions

WRONG: list[tuple[str, Any, str]] = [
    ("plan", "gold", "plan 'gold': expected one of anonymous, basic"),
    ("account_plan", "anonymous", "account_plan 'anonymous': expected one of basic"),
    ("ban", "me", "ban 'me': expected one of all, user_id, ip"),
    ("port", 65_536, "port 65536: expected 0 to 65535"),
    ("http_port", -1, "http_port -1: expected 0 to 65535"),
    *((name, 0, f"{name} 0: expected a number above 0")
      for name in ("token_lifetime_s", "session_rate", "heartbeat_s", "update_ms")),
    *((name, -1, f"{name} -1: expected 0 or more")
      for name in ("account_connections", "max_connections", "rate_limit", "http_busy", "http_retry_after_s")),
    *((name, float("nan"), f"{name} nan: expected 0 or more") for name in ("latency_ms", "jitter_ms")),
    ("update_ms", float("inf"), "update_ms inf: expected a number above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ServerOptions(**{name: value})
    assert str(refused.value).startswith(message)


def test_every_option_but_switches_and_addresses_is_checked() -> None:
    unchecked = {"host", "tls", "clock"}
    assert {field.name for field in fields(ServerOptions)} - unchecked == {name for name, _, _ in WRONG}


def test_no_limit_is_none() -> None:
    options = ServerOptions()
    assert (options.ban, options.account_connections, options.session_rate) == (None, None, None)
    assert (options.max_connections, options.rate_limit) == (None, None)


def test_nothing_may_be_allowed() -> None:
    assert ServerOptions(account_connections=0, max_connections=0, rate_limit=0).rate_limit == 0


def test_every_option_says_what_it_means() -> None:
    text = ServerOptions.__doc__ or ""
    assert {field.name for field in fields(ServerOptions) if f"`{field.name}`" not in text} == {"http_retry_after_s"}
    assert "Retry-After: http_retry_after_s" in text
