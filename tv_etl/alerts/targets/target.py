"""What every target has: where it is written down, which alerts it gets, how often it may be called, what it answered.

A target's module knows its service: how a message is written, how long it may be, what an answer means. How a message
gets there is `calls`', when is the courier's. Models of the watchlist, so nothing slow is imported here.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from tv_etl.alerts.events import Event, Severity
from tv_etl.tradingview.printable import printable

FIRST_WAIT_S = 5.0
MAX_RETRY_AFTER_S = 3600.0
GONE = 410  # the only status that says: never again
MAX_REASON = 200  # characters of what a service says of a refusal
MAX_ANSWER = 500  # characters of all that it says, for whoever tries a target by hand
_SHORTEST_SECRET = 6  # a shorter part of a secret is too common to be told from other text


def _check_variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable; write e.g. TV_ETL_WEBHOOK_URL")
    return value


VariableName = Annotated[str, AfterValidator(_check_variable_name)]


class Rate(NamedTuple):
    """How often a service may be called: `burst` messages at once, then none for `every_s` each."""

    burst: int
    every_s: float


class Envelope(NamedTuple):
    """What goes out as one message, under one id that stays the same when it is sent again."""

    message_id: str
    events: Sequence[Event]
    is_group: bool
    now: float


@dataclass(frozen=True)
class Request:
    """An HTTP request, a POST as a rule."""

    url: str = field(repr=False)
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        return self.headers.get(name, "").strip()


@dataclass(frozen=True)
class Verdict:
    """The outcome of one call: delivered, final, or to be tried again.

    `retry_after_s` is how long nothing may be sent now, which may be so after a delivery as well. `answer` is what the
    other side said, for whoever tries a target by hand.
    """

    is_sent: bool = False
    is_dead: bool = False
    retry_after_s: float | None = None
    error: str = ""
    answer: str = field(default="", repr=False)


def failed(reason: str) -> Verdict:
    """A call to be made again."""
    return Verdict(error=reason, answer=reason)


class Secrets(Mapping[str, str]):
    """Values of environment variables by name; no repr shows them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, variable: str) -> str:
        return self._values[variable]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"

    def redact(self, text: str) -> str:
        """The text without any of the secrets, or a part of an address among them but the host of a web server."""
        parts = set(self._values.values())
        for value in self._values.values():
            web = urlsplit(value) if value.startswith(("https://", "http://")) else None
            pieces = re.split(r"[/?&=:@#\s]", value)
            parts |= {each for each in pieces if len(each) >= _SHORTEST_SECRET and not (web and each == web.hostname)}
        for part in sorted(parts - {""}, key=len, reverse=True):
            for form in {part, quote(part), quote(part, safe="")}:
                text = text.replace(form, "***")
        return text


class Place(NamedTuple):
    """Where a target is called."""

    host: str
    port: int
    allow_private: bool


class TargetSpec(BaseModel):
    """A target as the watchlist has it; secrets are in environment variables, and only their names in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.@+-]{0,64}$",
        description="What the target is called in messages and commands; by default as its variable or recipient.",
    )
    severity: list[Severity] = Field(
        default_factory=list, description="Only alerts of these severities: info, warning, error, critical; [] for all."
    )
    tags: list[str] = Field(
        default_factory=list, description="Only alerts of rules with one of these tags; [] for all."
    )
    groups: list[str] = Field(
        default_factory=list, description="Only alerts of rules for one of these groups; [] for all."
    )
    allow_private: bool = Field(default=False, description="Allow addresses of private networks and of this host.")

    kind: ClassVar[str]  # the first word of its key in the store
    group_above: ClassVar[int] = 1  # so many alerts are a message each, more of them one; never, if there is none
    rate: ClassVar[Rate | None] = None
    takes_acks: ClassVar[bool] = False  # the service can be told that somebody has acknowledged an alert

    @property
    def called(self) -> str:
        """Its name, or what stands for it."""
        return self.name or self.default_name

    @property
    def default_name(self) -> str:
        """What it is called if it has no name: as the first of its variables."""
        return self.variables[0]

    @property
    def key(self) -> str:
        """Identifies the target in the store; its address may change."""
        return f"{self.kind} {self.called}"

    @property
    def limit(self) -> Rate | None:
        """How often the service may be called, as it documents."""
        return self.rate

    @property
    def groups_events(self) -> bool:
        """True if a message may be about several alerts."""
        return True

    @property
    def variables(self) -> Sequence[str]:
        """The variables that must be set: those that the fields `..._env` name, in the order of the fields."""
        return [value for field_name, value in self if field_name.endswith("_env") and value]

    def mistake(self, secrets: Mapping[str, str]) -> str:
        """What is wrong with the values of the variables, naming the variable and not the value; empty if nothing."""
        raise NotImplementedError

    def place(self, secrets: Mapping[str, str]) -> Place:
        """Where it is called."""
        raise NotImplementedError

    def shown(self, secrets: Mapping[str, str], envelope: Envelope) -> str:
        """What is sent, for whoever tries the target by hand; it may hold secrets."""
        raise NotImplementedError

    def wants(self, event: Event) -> bool:
        """True if the target gets this alert. One about the watch itself goes everywhere: nobody else would tell."""
        if event.status == "acknowledged" and not self.takes_acks:
            return False
        if event.is_of_watch:
            return True
        wanted = (
            (self.severity, (event.severity,)),
            (self.tags, event.tags),
            (self.groups, event.groups),
        )
        return all(not asked or set(asked) & set(found) for asked, found in wanted)


class HttpSpec(TargetSpec):
    """A target that is called by HTTP."""

    def request(self, secrets: Mapping[str, str], envelope: Envelope) -> Request:
        """The message as the service wants it."""
        raise NotImplementedError

    def address(self, secrets: Mapping[str, str]) -> str:
        """The address that is called."""
        raise NotImplementedError

    def place(self, secrets: Mapping[str, str]) -> Place:
        parts = urlsplit(self.address(secrets))
        return Place(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), self.allow_private)

    def shown(self, secrets: Mapping[str, str], envelope: Envelope) -> str:
        request = self.request(secrets, envelope)
        heads = [f"{name}: {value}" for name, value in request.headers.items()]
        return "\n".join(
            [f"POST to {self.place(secrets).host}", *heads, "", request.content.decode("utf-8", "replace")]
        )

    def judge(self, answer: Answer) -> Verdict:
        """What the answer means; called with its head, and again with what came of its body."""
        return http_verdict(answer, self.reason(answer))

    def reason(self, answer: Answer) -> str:
        """What the service says of a refusal, in a few words; empty where nothing it says can be relied on."""
        return ""


@dataclass(frozen=True)
class ReadyTarget:
    """A target with its secrets: it can be called."""

    spec: TargetSpec
    secrets: Secrets = field(repr=False)

    @property
    def key(self) -> str:
        """Identifies this target in the store."""
        return self.spec.key

    @property
    def host(self) -> str:
        """The only part of an address that may be shown."""
        return self.spec.place(self.secrets).host

    @property
    def label(self) -> str:
        """What the target is called where people read it."""
        return f"{self.spec.called} ({self.host})"

    def wants(self, event: Event) -> bool:
        """True if the target gets this alert."""
        return self.spec.wants(event)


@dataclass(frozen=True)
class UnusableTarget:
    """A target that cannot be called as it is configured; what waits for it goes on waiting."""

    key: str
    label: str
    reason: str
    spec: TargetSpec | None = None

    def wants(self, event: Event) -> bool:
        """True if the target would get this alert."""
        return event.status != "acknowledged" if self.spec is None else self.spec.wants(event)


def ready(spec: TargetSpec, environment: Mapping[str, str]) -> ReadyTarget | UnusableTarget:
    """The target with the secrets of the environment; without one, or with a malformed one, what is wrong."""
    for variable in spec.variables:
        if not environment.get(variable):
            reason = f"environment variable {variable} is not set"
            return UnusableTarget(spec.key, spec.called, reason, spec)
    values = Secrets({name: environment[name] for name in spec.variables})
    if mistake := spec.mistake(values):
        return UnusableTarget(spec.key, spec.called, mistake, spec)
    return ReadyTarget(spec, values)


# --- addresses


def _check_service(url: str, info: ValidationInfo) -> str:
    if mistake := address_mistake(url, bool(info.data.get("allow_private"))):
        raise ValueError(mistake)
    parts = urlsplit(url)
    if parts.username or parts.query or parts.fragment:
        raise ValueError("expected no more than https://host:port/path")
    return url


def address_mistake(url: str, allow_private: bool) -> str:
    """What is wrong with an address, without quoting it; empty if nothing."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return "not a URL"
    if not url.isprintable() or " " in url or "\\" in url:
        return "not a URL"
    if parts.scheme not in ("https", "http") or not has_host:
        return "expected https://host/..."
    if parts.scheme != "https" and not allow_private:
        return "expected https:// (or allow_private, on your own network)"
    return ""


def variable_mistake(variable: str, url: str, allow_private: bool) -> str:
    """The same of an address in an environment variable."""
    mistake = address_mistake(url, allow_private)
    return f"environment variable {variable}: {mistake}" if mistake else ""


ServiceUrl = Annotated[str, AfterValidator(_check_service)]


# --- answers


def http_verdict(answer: Answer, reason: str = "", retry_after_s: float | None = None) -> Verdict:
    """What a status means to whoever posts; `retry_after_s` is what the body says of a wait."""
    status = answer.status
    shown = f"HTTP {status}" + (f": {reason}" if reason else "")
    said = printable(" ".join(answer.body.decode("utf-8", "replace").split()), MAX_ANSWER)
    whole = f"HTTP {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return Verdict(is_sent=True, answer=whole)
    wait_s = retry_after_s
    if wait_s is None and status in (429, 503):
        wait_s = read_retry_after(answer)
    if status == 429 and wait_s is None:
        wait_s = FIRST_WAIT_S
    return Verdict(is_dead=status == GONE, retry_after_s=bounded_wait(wait_s), error=shown, answer=whole)


def bounded_wait(wait_s: float | None) -> float | None:
    """The wait, if it is one, and no longer than an hour."""
    if wait_s is None or not math.isfinite(wait_s):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def read_retry_after(answer: Answer) -> float | None:
    """Seconds from Retry-After, which is a number or a date; a date counts from the answer's own."""
    text = answer.header("retry-after")
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        until, date = (parsedate_to_datetime(value) for value in (text, answer.header("date")))
    except (TypeError, ValueError):
        return None
    aware = [moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc) for moment in (until, date)]
    return bounded_wait((aware[0] - aware[1]).total_seconds())


def read_json(answer: Answer) -> dict[str, Any]:
    """The object that a body holds; empty where it is none."""
    import json

    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def number_in(document: Mapping[str, Any], name: str) -> float | None:
    """A number of a document; None where it is something else."""
    value = document.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text_in(document: Mapping[str, Any], name: str) -> str:
    """A text of a document, printable and short; empty where it is something else."""
    value = document.get(name)
    return printable(value, MAX_REASON) if isinstance(value, str) else ""
