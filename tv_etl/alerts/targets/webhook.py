"""A webhook: any address that takes a POST, with the alert as JSON, or as the watchlist writes it.

It may be signed as the specification Standard Webhooks has it (github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md): HMAC-SHA256 over `id.timestamp.body`, in the headers webhook-id, webhook-timestamp and
webhook-signature; libraries that check it exist for most languages. Sent again, a message has the same id.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from tv_etl.alerts.events import TEMPLATE_RIGHT, check_template, render, render_document
from tv_etl.alerts.messages import dump, json_message
from tv_etl.alerts.targets.target import Envelope, HttpSpec, Request, VariableName, variable_mistake

PREFIX = "whsec_"
KEY_BYTES = (24, 64)

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# What a message says of itself, or the transport of it.
_OURS = {
    "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "expect",
    "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature",
}  # fmt: skip


def _check_name(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is written by tv_etl itself")
    return name


def _check_value(value: str) -> str:
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError("a header's value is printable ASCII, without spaces around it")
    return value


def _check_body(body: Any) -> Any:
    if isinstance(body, str):
        check_template(body)
    elif isinstance(body, dict):
        for key, value in body.items():
            if not isinstance(key, str):
                raise ValueError(f"{key!r} is no key of JSON; write it in quotes")
            _check_body(value)
    elif isinstance(body, list):
        for each in body:
            _check_body(each)
    elif body is not None and not isinstance(body, bool | int | float):
        raise ValueError(f"{body!r} is nothing that JSON has; {TEMPLATE_RIGHT}")
    return body


HeaderName = Annotated[str, AfterValidator(_check_name)]


class WebhookTarget(HttpSpec):
    """Any address that takes a POST.

    Without a `body`, an alert is posted as JSON with all its fields, and more than five at once as
    `{event_id, text, alerts: [...]}`; with one, each by itself.
    """

    type: Literal["webhook"] = Field(description="webhook")
    url_env: VariableName = Field(description="Name of the environment variable that holds the address.")
    secret_env: VariableName | None = Field(
        default=None,
        description="Name of the variable with the secret that messages are signed with, as Standard Webhooks has it: "
        "whsec_ and the base64 of 24 to 64 bytes.",
    )
    headers: dict[HeaderName, Annotated[str, AfterValidator(_check_value)]] = Field(
        default_factory=dict, description="Headers to send, e.g. {X-Team: markets}; none of them a secret."
    )
    headers_env: dict[HeaderName, VariableName] = Field(
        default_factory=dict,
        description="Headers whose values are in variables, e.g. {Authorization: HOOK_AUTHORIZATION}.",
    )
    body: Annotated[Any, AfterValidator(_check_body)] = Field(
        default=None,
        description="What to post of each alert, with its fields in braces: a mapping for JSON, where {price} alone "
        "stays a number, or a text for text/plain.",
    )

    kind: ClassVar[str] = "json"
    group_above: ClassVar[int] = 5

    @property
    def groups_events(self) -> bool:
        return self.body is None

    @property
    def variables(self) -> Sequence[str]:
        return [self.url_env, *([self.secret_env] if self.secret_env else []), *self.headers_env.values()]

    def mistake(self, secrets: Mapping[str, str]) -> str:
        if found := variable_mistake(self.url_env, secrets[self.url_env], self.allow_private):
            return found
        if self.secret_env and _key(secrets[self.secret_env]) is None:
            form = f"{PREFIX} and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes"
            return f"environment variable {self.secret_env}: expected {form}"
        for variable in self.headers_env.values():
            try:
                _check_value(secrets[variable])
            except ValueError as error:
                return f"environment variable {variable}: {error}"
        return ""

    def address(self, secrets: Mapping[str, str]) -> str:
        return secrets[self.url_env]

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        form = "application/json"
        if self.body is None:
            content = json_message(envelope.message_id, envelope.events, envelope.is_group)
        elif isinstance(self.body, str):
            content, form = render(self.body, envelope.events[0]).encode(), "text/plain; charset=utf-8"
        else:
            content = dump(render_document(self.body, envelope.events[0]))
        headers = {**self.headers, **{name: secrets[variable] for name, variable in self.headers_env.items()}}
        headers |= {"Content-Type": form, "Idempotency-Key": envelope.message_id}
        if self.secret_env:
            headers |= _signature(secrets[self.secret_env], envelope, content)
        return Request(self.address(secrets), content, headers)


def _key(secret: str) -> bytes | None:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if secret.startswith(PREFIX) and KEY_BYTES[0] <= len(key) <= KEY_BYTES[1] else None


def _signature(secret: str, envelope: Envelope, content: bytes) -> dict[str, str]:
    timestamp = str(int(envelope.now))
    signed = f"{envelope.message_id}.{timestamp}.".encode() + content
    digest = hmac.new(_key(secret) or b"", signed, hashlib.sha256).digest()
    return {
        "webhook-id": envelope.message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
