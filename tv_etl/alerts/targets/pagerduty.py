"""PagerDuty, by its Events API v2.

developer.pagerduty.com/docs/send-alert-event has the event: trigger, acknowledge or resolve, a dedup_key of up to 255
characters that ties them together, a summary of up to 1,024, one of four severities; events-api-v2-overview the answers
(202 where it was accepted) and the size, 512 KB; events-api-rate-limits the rate: 120 calls a minute, looked back on at
each call. One call takes one event, so none are grouped here: PagerDuty groups them by its own settings.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import ClassVar, Literal

from pydantic import Field

from tv_etl.alerts.events import Status
from tv_etl.alerts.messages import dump, fitted, line
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

MAX_SUMMARY = 1024
PAGERDUTY = "https://events.pagerduty.com"

_KEY = re.compile(r"[A-Za-z0-9]{32}")
_ACTIONS: Mapping[Status, str] = {"firing": "trigger", "acknowledged": "acknowledge", "resolved": "resolve"}


class PagerDutyTarget(HttpSpec):
    """A service of PagerDuty, by an integration of the kind Events API v2."""

    type: Literal["pagerduty"] = Field(description="pagerduty")
    key_env: VariableName = Field(description="Name of the environment variable that holds the integration key.")
    url: ServiceUrl = Field(default=PAGERDUTY, description="Another address, e.g. https://events.eu.pagerduty.com.")

    kind: ClassVar[str] = "pagerduty"
    takes_acks: ClassVar[bool] = True
    # Half a minute's share at once, so that no minute has more than 120.
    rate: ClassVar[Rate] = Rate(burst=60, every_s=0.5)

    @property
    def groups_events(self) -> bool:
        return False

    def mistake(self, secrets: Mapping[str, str]) -> str:
        if not _KEY.fullmatch(secrets[self.key_env]):
            return f"environment variable {self.key_env}: expected an integration key of 32 letters and digits"
        return ""

    def address(self, secrets: Mapping[str, str]) -> str:
        return f"{self.url.rstrip('/')}/v2/enqueue"

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        event = envelope.events[0]
        message = {
            "routing_key": secrets[self.key_env],
            "event_action": _ACTIONS[event.status],
            "dedup_key": event.incident,
            "client": "tv_etl",
            "payload": {
                "summary": fitted([line(event)], MAX_SUMMARY),
                "source": event.symbol or "tv_etl",
                "severity": event.severity,
                "class": event.kind,
                "component": event.rule,
                "group": ", ".join(event.groups),
                "custom_details": asdict(event),
                **({"timestamp": event.time} if event.time else {}),
            },
            **({"links": [{"href": event.link, "text": "in Dagster"}]} if event.link else {}),
        }
        return Request(self.address(secrets), dump(message), {"Content-Type": "application/json"})

    def reason(self, answer: Answer) -> str:
        body = read_json(answer)
        errors = body.get("errors")
        listed = [str(each) for each in errors] if isinstance(errors, list) else []
        return text_in({"said": "; ".join([text_in(body, "message"), *listed])}, "said").strip("; ")
