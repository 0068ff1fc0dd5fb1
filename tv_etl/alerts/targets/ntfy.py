"""ntfy: ntfy.sh, or a server of one's own.

docs.ntfy.sh/publish/#publish-as-json has the message, with priorities of 1 to 5 and tags; #limitations the length,
4,096 bytes, beyond which a message becomes a file, and the rate, 60 requests at once and then one in 5 seconds;
#access-tokens the token. Whoever knows a topic of ntfy.sh may read it, so a topic is a secret.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from tv_etl.alerts.events import Severity
from tv_etl.alerts.messages import by_severity, dump, fitted, line, linked, title
from tv_etl.alerts.targets.target import (
    Answer,
    Envelope,
    HttpSpec,
    Rate,
    Request,
    ServiceUrl,
    VariableName,
    read_json,
    text_in,
)

MAX_BYTES = 4096
# Of the whole request: a server takes twice the length of a message.
MAX_REQUEST_BYTES = 2 * MAX_BYTES
MAX_TITLE = 200
NTFY = "https://ntfy.sh"

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRIORITY: dict[Severity, int] = {"info": 2, "warning": 3, "error": 4, "critical": 5}
_SIGN: dict[Severity, str] = {
    "info": "information_source",
    "warning": "warning",
    "error": "x",
    "critical": "rotating_light",
}
_MAX_TAGS = 5


class NtfyTarget(HttpSpec):
    """A topic of ntfy."""

    type: Literal["ntfy"] = Field(description="ntfy")
    topic_env: VariableName = Field(description="Name of the environment variable that holds the topic.")
    token_env: VariableName | None = Field(
        default=None, description="Name of the variable that holds an access token, where the topic is protected."
    )
    url: ServiceUrl = Field(default=NTFY, description="Address of a server of your own.")

    kind: ClassVar[str] = "ntfy"
    rate: ClassVar[Rate] = Rate(burst=10, every_s=5.0)

    def mistake(self, secrets: Mapping[str, str]) -> str:
        if not _TOPIC.fullmatch(secrets[self.topic_env]):
            return f"environment variable {self.topic_env}: expected a topic, 1 to 64 characters of a-z A-Z 0-9 _ -"
        if self.token_env and not re.fullmatch(r"[!-~]+", secrets[self.token_env]):
            return f"environment variable {self.token_env}: expected an access token, such as tk_..."
        return ""

    def address(self, secrets: Mapping[str, str]) -> str:
        return self.url

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        events, end = by_severity(envelope.events), f"\n[{envelope.message_id}]"
        worst = events[0]
        message = {
            "topic": secrets[self.topic_env],
            "title": fitted([worst.symbol or "tv_etl" if len(events) == 1 else title(events)], MAX_TITLE),
            "priority": _PRIORITY[worst.severity],
            "tags": [_SIGN[worst.severity], *worst.tags[:_MAX_TAGS]],
        }
        if len(events) == 1 and worst.link:
            message["click"] = worst.link
        lines = [(line if len(events) == 1 else linked)(each) for each in events]
        room = MAX_BYTES - _in_bytes(end)
        content = dump(message | {"message": fitted(lines, room, _in_bytes) + end})
        if len(content) > MAX_REQUEST_BYTES:  # all of it quotes and backslashes
            content = dump(message | {"message": fitted(lines, room // 2, _in_bytes) + end})
        token = {"Authorization": f"Bearer {secrets[self.token_env]}"} if self.token_env else {}
        return Request(self.address(secrets), content, {"Content-Type": "application/json", **token})

    def reason(self, answer: Answer) -> str:
        return text_in(read_json(answer), "error")


def _in_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
