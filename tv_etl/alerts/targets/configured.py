"""All kinds of targets, as the watchlist chooses among them by `type`."""

from typing import Annotated

from pydantic import Field

from tv_etl.alerts.targets.apprise import AppriseTarget
from tv_etl.alerts.targets.discord import DiscordTarget
from tv_etl.alerts.targets.email import EmailTarget
from tv_etl.alerts.targets.ntfy import NtfyTarget
from tv_etl.alerts.targets.pagerduty import PagerDutyTarget
from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.telegram import TelegramTarget
from tv_etl.alerts.targets.webhook import WebhookTarget

TARGETS = (
    WebhookTarget,
    SlackTarget,
    DiscordTarget,
    TelegramTarget,
    NtfyTarget,
    PagerDutyTarget,
    EmailTarget,
    AppriseTarget,
)
AnyTarget = Annotated[
    WebhookTarget
    | SlackTarget
    | DiscordTarget
    | TelegramTarget
    | NtfyTarget
    | PagerDutyTarget
    | EmailTarget
    | AppriseTarget,
    Field(discriminator="type"),
]
