"""What of collecting is told, how severe it is, and to whom, as written under `notify:`."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tv_etl.alerts.events import DEFAULT_SEVERITY, Severity
from tv_etl.alerts.targets.target import TargetSpec
from tv_etl.alerts.troubles import TOPICS, Topic


def _read_topics(value: object) -> object:
    """A list as a mapping whose topics have the severity of all."""
    if not isinstance(value, list):
        return value
    unknown = [each for each in value if not isinstance(each, str) or each not in TOPICS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is nothing that is told; expected some of {', '.join(TOPICS)}")
    return dict.fromkeys(value)


def _check_topics(value: dict[Topic, Severity | None]) -> dict[Topic, Severity | None]:
    if not value:
        raise ValueError(f"name at least one of {', '.join(TOPICS)}; or leave notify out")
    return value


def _check_ui(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError(f"{value!r} is not the address of a web interface; write e.g. http://127.0.0.1:3000")
    if parts.username or parts.query or parts.fragment or not value.isascii() or set(value) & set(" \t\r\n<>\"'"):
        raise ValueError("expected no more than a host, a port and a path, e.g. https://dagster.example.com")
    return value.rstrip("/")


class _TopicsSchema:
    """Both forms, for the JSON schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "array", "items": {"enum": list(TOPICS)}}, handler(core)]}


class Notify(BaseModel):
    """Tell on the alerts' targets when collecting fails, and when it works again."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    severity: Severity = Field(default=DEFAULT_SEVERITY, description="info, warning, error or critical; of all topics.")
    targets: list[str] = Field(
        default_factory=list,
        description="Names of the targets that are told, whatever their filters; [] for all whose filters let it pass.",
    )
    on: Annotated[
        dict[Topic, Severity | None], AfterValidator(_check_topics), BeforeValidator(_read_topics), _TopicsSchema
    ] = Field(
        default_factory=lambda: dict.fromkeys(TOPICS),
        validate_default=True,
        description=f"What is told, of {', '.join(TOPICS)}; or a severity for each: {{runs: error, checks: info}}.",
    )
    ui: Annotated[str, AfterValidator(_check_ui)] = Field(
        default="", description="Address of Dagster's web interface, for links, e.g. http://127.0.0.1:3000."
    )
    interval_s: int = Field(default=60, ge=5, description="Seconds between two looks.")

    @property
    def severities(self) -> Mapping[Topic, Severity]:
        """How severe each topic is that is told."""
        return {topic: severity or self.severity for topic, severity in self.on.items()}

    def named(self, targets: Iterable[TargetSpec]) -> list[str]:
        """The keys of the targets that are told by name."""
        return [target.key for target in targets if target.called in self.targets]


def read_notify(value: Any) -> Any:
    """`true` for all by its defaults, `false` for nothing."""
    if isinstance(value, bool):
        return {} if value else None
    # YAML reads a bare on as true.
    return {"on" if key is True else key: each for key, each in value.items()} if isinstance(value, dict) else value
