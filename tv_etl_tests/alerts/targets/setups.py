"""Each kind of target against the server of its service: how it is written down, and the secrets that it needs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tv_etl.alerts.fold import Alert
from tv_etl.alerts.targets.target import ReadyTarget, ready
from tv_etl.watchlist.model import Alerts
from tv_etl_tests.alerts.targets.services import (
    NOW,
    Anything,
    Discord,
    HttpServer,
    Ntfy,
    PagerDuty,
    Service,
    Slack,
    Telegram,
    serve,
)

WRITTEN: dict[str, tuple[type[Service], dict[str, Any]]] = {
    "webhook": (Anything, {"url_env": "HOOK"}),
    "slack": (Slack, {"url_env": "HOOK"}),
    "discord": (Discord, {"url_env": "HOOK"}),
    "telegram": (Telegram, {"token_env": "TOKEN", "chat_id": -100200300}),
    "ntfy": (Ntfy, {"topic_env": "TOPIC", "token_env": "TOKEN"}),
    "pagerduty": (PagerDuty, {"key_env": "KEY"}),
}
KINDS = sorted(WRITTEN)
_HAVE_URL = ("telegram", "ntfy", "pagerduty")


@dataclass
class Setup:
    kind: str
    server: HttpServer
    settings: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> Any:
        return self.server.service

    @property
    def target(self) -> ReadyTarget:
        found = ready(written({"type": self.kind, "allow_private": True, **self.settings}), self.environment)
        assert isinstance(found, ReadyTarget), found
        return found

    @property
    def texts(self) -> list[str]:
        return [self.service.text(each) for each in self.service.taken]


def written(content: Mapping[str, Any]) -> Any:
    """A target as a watchlist has it."""
    return Alerts.model_validate({"targets": [content]}).targets[0]


@contextmanager
def running(kind: str, **settings: Any) -> Iterator[Setup]:
    make, usual = WRITTEN[kind]
    server = HttpServer(make())
    thread = serve(server)
    environment = {"HOOK": server.url + server.service.secret_path, "KEY": PagerDuty.key, "TOPIC": Ntfy.topic}
    environment["TOKEN"] = Telegram.token if kind == "telegram" else Ntfy.token
    url = {"url": server.url} if kind in _HAVE_URL else {}
    yield Setup(kind, server, {**usual, **url, **settings}, environment)
    server.shutdown()
    server.server_close()
    thread.join()


def make_alert(number: int = 0, symbol: str = "NASDAQ:AAPL", **more: Any) -> Alert:
    fields = {"level": 10.0, "price": 10.5, "touched_at": 1_789_999_980, "detected_at": NOW, **more}
    return Alert(f"{number:032x}", f"rule-{number}", symbol, "cross_up", **fields)
