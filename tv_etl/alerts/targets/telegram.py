"""Telegram, by a bot.

core.telegram.org/bots/api#sendmessage has the message: up to 4,096 characters after entities are parsed; #html-style
the three characters that are escaped; #making-requests and #responseparameters the errors: a description, retry_after
in parameters, and migrate_to_chat_id where a group has become a supergroup. core.telegram.org/bots/faq has the rate: a
message a second in a chat, 20 a minute in a group.
"""

import html
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tv_etl.alerts.messages import by_severity, dump, fitted, linked, title, utf16_length
from tv_etl.alerts.targets.target import (
    Answer,
    Envelope,
    HttpSpec,
    Rate,
    Request,
    ServiceUrl,
    VariableName,
    Verdict,
    http_verdict,
    number_in,
    read_json,
    text_in,
)

MAX_LENGTH = 4096
TELEGRAM = "https://api.telegram.org"

_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}")
_CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,63}")


def _check_chat(chat: str | int) -> str:
    if isinstance(chat, bool) or not _CHAT.fullmatch(str(chat)):
        raise ValueError("expected the number of a chat, such as -1001234567890, or @channel")
    return str(chat)


class TelegramTarget(HttpSpec):
    """A chat of Telegram, by a bot."""

    type: Literal["telegram"] = Field(description="telegram")
    token_env: VariableName = Field(description="Name of the environment variable that holds the bot's token.")
    chat_id: Annotated[str | int, AfterValidator(_check_chat)] = Field(
        description="Number of the chat, negative for a group, or @channel."
    )
    url: ServiceUrl = Field(default=TELEGRAM, description="Another address of the Bot API, for a server of your own.")

    kind: ClassVar[str] = "telegram"

    @property
    def default_name(self) -> str:
        return f"{self.token_env}{self.chat_id if str(self.chat_id).startswith(('-', '@')) else f'+{self.chat_id}'}"

    @property
    def limit(self) -> Rate:
        return Rate(burst=1, every_s=3.0 if str(self.chat_id).startswith(("-", "@")) else 1.0)

    def mistake(self, secrets: Mapping[str, str]) -> str:
        if not _TOKEN.fullmatch(secrets[self.token_env]):
            return f"environment variable {self.token_env}: expected a bot's token, such as 123456:ABC-DEF..."
        return ""

    def address(self, secrets: Mapping[str, str]) -> str:
        return f"{self.url.rstrip('/')}/bot{secrets[self.token_env]}/sendMessage"

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        events, end = by_severity(envelope.events), f"\n<code>{html.escape(envelope.message_id)}</code>"
        heads = [title(events)] if len(events) > 1 else []
        # With the tags counted in, which Telegram does not count.
        room = MAX_LENGTH - utf16_length(end)
        text = fitted([*heads, *(linked(each) for each in events)], room, utf16_length, html.escape)
        message = {
            "chat_id": self.chat_id,
            "text": text + end,
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            "disable_notification": events[0].severity == "info",
        }
        return Request(self.address(secrets), dump(message), {"Content-Type": "application/json"})

    def judge(self, answer: Answer) -> Verdict:
        body = read_json(answer)
        found = body.get("parameters")
        parameters = found if isinstance(found, dict) else {}
        reason, moved_to = text_in(body, "description"), parameters.get("migrate_to_chat_id")
        if isinstance(moved_to, int):
            reason = f"{reason}; the chat_id is {moved_to} now"
        return http_verdict(answer, reason, number_in(parameters, "retry_after"))
