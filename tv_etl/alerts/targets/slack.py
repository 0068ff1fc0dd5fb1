"""Slack, by an incoming webhook, and what takes the same messages, such as Mattermost and Rocket.Chat.

docs.slack.dev/messaging/sending-messages-using-incoming-webhooks has the message and the errors, which are single
words; docs.slack.dev/messaging/formatting-message-text the three characters that are escaped;
docs.slack.dev/changelog/2018-truncating-really-long-messages the length: 4,000 characters are recommended, and what is
longer than 40,000 is cut; docs.slack.dev/apis/web-api/rate-limits the rate: a message a second, else 429 with
Retry-After. An archived channel is answered with 410.
"""

import html
import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from tv_etl.alerts.messages import by_severity, dump, fitted, linked, title
from tv_etl.alerts.targets.target import Answer, Envelope, HttpSpec, Rate, Request, VariableName, variable_mistake

MAX_LENGTH = 4000

_WORD = re.compile(r"[a-z_]{1,60}")


class SlackTarget(HttpSpec):
    """A channel of Slack, or of what takes the same messages, by an incoming webhook."""

    type: Literal["slack"] = Field(description="slack")
    url_env: VariableName = Field(
        description="Name of the environment variable that holds the webhook's address, https://hooks.slack.com/..."
    )

    kind: ClassVar[str] = "slack"
    rate: ClassVar[Rate] = Rate(burst=1, every_s=1.0)

    def mistake(self, secrets: Mapping[str, str]) -> str:
        return variable_mistake(self.url_env, secrets[self.url_env], self.allow_private)

    def address(self, secrets: Mapping[str, str]) -> str:
        return secrets[self.url_env]

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        # There are no idempotency keys: with the id, people see that a message came twice.
        end = f"\n[{envelope.message_id}]"
        heads = [title(envelope.events)] if len(envelope.events) > 1 else []
        lines = [*heads, *(linked(each) for each in by_severity(envelope.events))]
        text = fitted(lines, MAX_LENGTH - len(end), escape=_escape) + end
        # Not as mrkdwn: an asterisk in a symbol is an asterisk.
        message = {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        headers = {"Content-Type": "application/json", "Idempotency-Key": envelope.message_id}
        return Request(self.address(secrets), dump(message), headers)

    def reason(self, answer: Answer) -> str:
        word = answer.body.decode("ascii", "replace").strip()
        return word if _WORD.fullmatch(word) else ""


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
