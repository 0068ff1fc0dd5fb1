"""What a webhook may be; calls of it are in test_courier."""

import pytest
from pydantic import ValidationError

from tv_etl.alerts.targets import webhook
from tv_etl.alerts.targets.webhook import UnusableTarget, Webhook, read_webhook

SECRET = "CANARY5f3a"


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert webhook._is_public(address)


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://example.com/x", "example.com", "https://", "", "https://a:b"]
)
def test_a_url_that_is_not_https_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Webhook(url=f"{url}#{SECRET}")  # type: ignore[arg-type]
    assert SECRET not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "environment variable HOOK is not set; it must hold the address"),
        (f"example.com/{SECRET}", "environment variable HOOK: Value error, expected https://host/..."),
        (f"http://example.com/{SECRET}", "expected https:// (or allow_private, on your own network)"),
    ],
)
def test_a_variable_without_an_address_is_named_and_its_value_is_not(url: str, reason: str) -> None:
    found = read_webhook("HOOK", url)
    assert isinstance(found, UnusableTarget)
    assert (found.key, found.label) == ("json HOOK", "HOOK")
    assert reason in found.reason and SECRET not in found.reason


def test_a_target_is_the_same_when_its_address_changes() -> None:
    one, other = read_webhook("HOOK", "https://a.example/1"), read_webhook("HOOK", "https://b.example/2")
    assert one.key == other.key == read_webhook("HOOK", "").key
    assert one.key != read_webhook("HOOK", "https://a.example/1", "slack").key
    assert (one.label, other.label) == ("HOOK (a.example)", "HOOK (b.example)")
