"""A dead man's switch: an address that is called after each good tick, whose service tells when it no longer is.

A plain GET, which is what healthchecks.io, Dead Man's Snitch and the push monitors of Uptime Kuma take alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from tv_etl.alerts.options import Duration
from tv_etl.alerts.targets.target import Place, VariableName, variable_mistake

EVERY_S = 300.0


class Ping(BaseModel):
    """A dead man's switch, called as long as the rules are judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    url_env: VariableName = Field(description="Name of the environment variable that holds the address.")
    every: Duration | None = Field(
        default=None, description="How often it is called, e.g. 10m, at most once a tick; by default, 5m."
    )
    allow_private: bool = Field(default=False, description="Allow addresses of private networks and of this host.")

    @property
    def every_s(self) -> float:
        """The seconds between two calls."""
        return EVERY_S if self.every is None else float(self.every)


@dataclass(frozen=True)
class ReadyPing:
    """The same with its address; `mistake` says why there is none."""

    every_s: float
    url: str = field(default="", repr=False)
    allow_private: bool = False
    mistake: str = ""

    @property
    def place(self) -> Place:
        """Where it is called."""
        parts = urlsplit(self.url)
        return Place(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), self.allow_private)

    def is_due(self, pinged_at: float | None, now: float) -> bool:
        """True if it was last called long enough ago, or by a clock that has been set back since."""
        return pinged_at is None or not 0 <= now - pinged_at < self.every_s


def ready_ping(spec: Ping, environment: Mapping[str, str]) -> ReadyPing:
    """The ping with the address of the environment."""
    url = environment.get(spec.url_env, "")
    if not url:
        return ReadyPing(spec.every_s, mistake=f"environment variable {spec.url_env} is not set")
    if mistake := variable_mistake(spec.url_env, url, spec.allow_private):
        return ReadyPing(spec.every_s, mistake=mistake)
    return ReadyPing(spec.every_s, url, spec.allow_private)
