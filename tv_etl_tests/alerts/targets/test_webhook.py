"""A webhook's form: body, headers and signature; what they all have in common is in test_configured."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from pydantic import ValidationError

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.target import Envelope, UnusableTarget, ready
from tv_etl.alerts.targets.webhook import WebhookTarget

pytestmark = pytest.mark.pure

KEY = bytes(range(32))
SECRETS = {"HOOK": "https://a.example/x", "SECRET": f"whsec_{base64.b64encode(KEY).decode()}", "AUTH": "Bearer abc"}
EVENT = Event("id-1", "r", "X:A", "cross_up", 10.0, 10.5, 1_790_000_040, 1_790_000_100.0, 'a "text"\n', tags=("a", "b"))


def webhook(**settings: Any) -> WebhookTarget:
    return WebhookTarget.model_validate({"type": "webhook", "url_env": "HOOK", **settings})


def posted(spec: WebhookTarget, *events: Event) -> Any:
    return spec.request(SECRETS, Envelope("id-1", events or (EVENT,), len(events) > 1, 1_790_000_200.7))


def test_without_a_body_every_field_is_posted() -> None:
    request = posted(webhook())
    assert json.loads(request.content) == {
        "event_id": "id-1", "rule": "r", "symbol": "X:A", "kind": "cross_up", "level": 10.0, "price": 10.5,
        "touched_at": 1_790_000_040, "detected_at": 1_790_000_100.0, "text": 'a "text"\n', "severity": "warning",
        "tags": ["a", "b"], "groups": [], "message": "", "status": "firing", "incident": "id-1",
        "link": "",
    }  # fmt: skip
    assert request.headers == {"Content-Type": "application/json", "Idempotency-Key": "id-1"}


def test_the_signature_is_that_of_standard_webhooks() -> None:
    request = posted(webhook(secret_env="SECRET"))
    digest = hmac.new(KEY, b"id-1.1790000200." + request.content, hashlib.sha256).digest()
    assert request.headers["webhook-id"] == "id-1"
    assert request.headers["webhook-timestamp"] == "1790000200"
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_a_body_of_json_has_the_fields_as_json_has_them() -> None:
    body = {
        "price": "{price}",
        "what": "{symbol} at {price}: {text}",
        "tags": "{tags}",
        "deep": [{"none": "{message}"}, 7],
    }
    request = posted(webhook(body=body))
    assert json.loads(request.content) == {
        "price": 10.5, "what": 'X:A at 10.5: a "text"\n', "tags": ["a", "b"], "deep": [{"none": ""}, 7],
    }  # fmt: skip
    assert not webhook(body=body).groups_events


def test_a_body_of_text_is_posted_as_text() -> None:
    request = posted(webhook(body="{symbol} {{at}} {time}: {tags}"))
    assert request.content.decode() == "X:A {at} 2026-09-21T14:14:00Z: a, b"
    assert request.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_headers_are_sent_and_their_secrets_are_in_variables() -> None:
    request = posted(webhook(headers={"X-Team": "markets"}, headers_env={"Authorization": "AUTH"}))
    assert (request.headers["X-Team"], request.headers["Authorization"]) == ("markets", "Bearer abc")
    assert "abc" not in repr(request)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"body": "{nothing}"}, "{nothing} is no field of an alert; known fields: event_id, rule,"),
        ({"body": {"a": [{"b": "{price.real}"}]}}, "{price.real} is no field"),
        ({"body": "{price!r}"}, "can have no format"),
        ({"body": "{price:.2f}"}, "can have no format"),
        ({"body": "{price"}, "write fields as {symbol}, and a brace itself as {{ or }}"),
        ({"body": {1: "x"}}, "1 is no key of JSON"),
        ({"headers": {"Host": "x"}}, "the header Host is written by tv_etl itself"),
        ({"headers": {"Webhook-Signature": "x"}}, "is written by tv_etl itself"),
        ({"headers": {"X Y": "x"}}, "is not the name of a header"),
        ({"headers": {"X": "a\nHost: b"}}, "printable ASCII"),
        ({"headers_env": {"X": "a-b"}}, "is not the name of an environment variable"),
        ({"secret_env": "whsec_abc"}, "is not the name of an environment variable"),
    ],
)
def test_a_mistake_says_what_would_be_right(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        webhook(**settings)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["abc", "whsec_", "whsec_abc", "whsec_" + "A" * 20, f"whsec_{'A' * 200}", "whsec_\u00e9"]
)
def test_a_malformed_secret_is_named_by_its_variable(secret: str) -> None:
    found = ready(webhook(secret_env="SECRET"), {**SECRETS, "SECRET": secret})
    assert isinstance(found, UnusableTarget)
    assert found.reason == "environment variable SECRET: expected whsec_ and the base64 of 24 to 64 bytes"


def test_a_header_in_a_variable_that_is_none_is_named() -> None:
    found = ready(webhook(headers_env={"Authorization": "AUTH"}), {**SECRETS, "AUTH": "a\r\nHost: b"})
    assert isinstance(found, UnusableTarget)
    assert found.reason.startswith("environment variable AUTH: a header's value is printable ASCII")
