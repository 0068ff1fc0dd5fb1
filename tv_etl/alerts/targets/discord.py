"""Discord, by a webhook of a channel.

discord.com/developers/docs/resources/webhook#execute-webhook has the message: content of up to 2,000 characters, up to
10 embeds, allowed_mentions, and `wait`, without which a message that is not saved is no error. The embed's limits,
4,096 characters of description among them, are in docs/resources/message#embed-object-embed-limits. By
docs/topics/rate-limits no rate is to be assumed: each answer says how many calls remain and until when, and a 429 has
retry_after in its body; a webhook that was answered with 404 is not to be called again.
"""

import re
from collections.abc import Collection, Mapping
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field

from tv_etl.alerts.events import Severity
from tv_etl.alerts.messages import by_severity, dump, fitted, linked, title, utf16_length
from tv_etl.alerts.targets.target import (
    Answer,
    Envelope,
    HttpSpec,
    Request,
    VariableName,
    Verdict,
    bounded_wait,
    http_verdict,
    number_in,
    read_json,
    text_in,
    variable_mistake,
)

MAX_CONTENT = 2000
MAX_DESCRIPTION = 4096
UNKNOWN_WEBHOOK = 10015

_MARKUP = re.compile(r"([\\*_~`|>#\[\]()<@:-])")
_COLORS: dict[Severity, int] = {"info": 0x3498DB, "warning": 0xF1C40F, "error": 0xE67E22, "critical": 0xE74C3C}


class DiscordTarget(HttpSpec):
    """A channel of Discord, by a webhook."""

    type: Literal["discord"] = Field(description="discord")
    url_env: VariableName = Field(
        description="Name of the environment variable that holds the webhook's address, "
        "https://discord.com/api/webhooks/..."
    )

    kind: ClassVar[str] = "discord"

    def mistake(self, secrets: Mapping[str, str]) -> str:
        return variable_mistake(self.url_env, secrets[self.url_env], self.allow_private)

    def address(self, secrets: Mapping[str, str]) -> str:
        parts = urlsplit(secrets[self.url_env])
        query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "wait"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("wait", "true")])))

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        events, end = by_severity(envelope.events), f"\n-# {envelope.message_id}"
        room = MAX_CONTENT - utf16_length(end)
        text = _Linked({each.link for each in events})
        head = linked(events[0]) if len(events) == 1 else title(events)
        message: dict[str, object] = {
            "content": fitted([head], room, utf16_length, text.escape) + end,
            "allowed_mentions": {"parse": []},
        }
        if len(events) > 1:
            # An embed has more room than the content, and its color shows what is worst.
            lines = fitted([linked(each) for each in events], MAX_DESCRIPTION, utf16_length, text.escape)
            message["embeds"] = [{"description": lines, "color": _COLORS[events[0].severity]}]
        return Request(self.address(secrets), dump(message), {"Content-Type": "application/json"})

    def judge(self, answer: Answer) -> Verdict:
        body = read_json(answer)
        verdict = http_verdict(answer, text_in(body, "message"), number_in(body, "retry_after"))
        if verdict.is_sent and answer.header("x-ratelimit-remaining") == "0":
            wait_s = bounded_wait(_seconds(answer.header("x-ratelimit-reset-after")))
            return Verdict(is_sent=True, retry_after_s=wait_s, answer=verdict.answer)
        if answer.status == 404 and body.get("code") == UNKNOWN_WEBHOOK:
            return Verdict(is_dead=True, error=verdict.error, answer=verdict.answer)
        return verdict


class _Linked:
    """Text of which nothing is markup but these links at its end; without a preview."""

    def __init__(self, links: Collection[str]) -> None:
        self._links = set(links) - {""}

    def escape(self, text: str) -> str:
        head, _, tail = text.rpartition(" ")
        return f"{_escape(head)} <{tail}>" if tail in self._links else _escape(text)


def _escape(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
