"""What a rule may say beside what it watches for: durations, hours, templates, runs. Pure."""

import re
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, NoReturn
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from tv_etl.alerts.events import FIELDS, check_template

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(rf"([0-9]{{1,6}})([{''.join(_UNIT_S)}])")
_DAY_S = 86_400
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")
_LABEL = re.compile(r"[a-z0-9_-]{1,64}")
# What a message may name: the fields of an alert, of which it is one itself.
MESSAGE_FIELDS = tuple(name for name in FIELDS if name != "message")


def fail_at(field: str | int, text: str) -> NoReturn:
    """Raise what is wrong with a field, or an item, of what is being validated."""
    error = PydanticCustomError("mistake", "{text}", {"text": text})
    details = InitErrorDetails(type=error, loc=(field,), input=None)
    raise ValidationError.from_exception_data("rule", [details])


def read_duration(value: Any) -> int:
    """Seconds of a duration such as 15m. Raises ValueError."""
    if isinstance(value, float | int) and not isinstance(value, bool) and value == 0:
        return 0
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 90s, 15m, 2h or 1d, not {value!r}")
    return int(match[1]) * _UNIT_S[match[2]]


def duration_text(seconds: int) -> str:
    """A duration as it may be written: in the widest unit that divides it."""
    unit = next((unit for unit in reversed(_UNIT_S) if seconds and seconds % _UNIT_S[unit] == 0), "s")
    return f"{seconds // _UNIT_S[unit]}{unit}"


Duration = Annotated[
    int,
    BeforeValidator(read_duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+[smhdw]$"}),
]


def check_label(value: str) -> str:
    """A name of 1 to 64 characters of a-z 0-9 _ -. Raises ValueError."""
    if not _LABEL.fullmatch(value):
        raise ValueError("expected 1 to 64 characters of a-z 0-9 _ -")
    return value


Label = Annotated[str, AfterValidator(check_label)]


def check_message(text: str) -> str:
    """A template that names fields of an alert in braces, and nothing else. Raises ValueError."""
    return check_template(text, MESSAGE_FIELDS)


Message = Annotated[str, AfterValidator(check_message)]


class _Option(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _check_hours(value: str) -> str:
    if not _HOURS.fullmatch(value):
        raise ValueError(f"{value!r}: expected hours such as 09:30-16:00, or 22:00-02:00 over midnight")
    if value[:5] == value[6:]:
        raise ValueError(f"{value!r} is no time at all; leave hours out for the whole day")
    return value


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"{value!r} is no time zone; write e.g. America/New_York or UTC") from None
    return value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Active(_Option):
    """When a rule tells what it finds. A touch at another time is followed, and not told."""

    hours: Annotated[list[Annotated[str, AfterValidator(_check_hours)]], BeforeValidator(_one_or_many)] = Field(
        default_factory=list, description="Hours such as 09:30-16:00, one or a list; by default, the whole day."
    )
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        default_factory=list, description="Days on which the hours begin; by default, all."
    )
    timezone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="UTC", description="Time zone of the hours and days, e.g. America/New_York."
    )
    session: Literal["regular", "extended"] = Field(
        default="regular",
        description="What is watched: the regular trading hours, or the minutes before and after them as well.",
    )

    def is_active(self, moment: float) -> bool:
        """True if what happens then is told."""
        if not self.hours and not self.days:
            return True
        local = datetime.fromtimestamp(moment, timezone.utc).astimezone(ZoneInfo(self.timezone))
        second = local.hour * 3_600 + local.minute * 60 + local.second
        day = local.weekday()
        return any(
            self._is_day(day if first <= second else day - 1)
            for first, last in self._spans()
            # Hours over midnight belong to the day on which they begin.
            if (first <= second < last if first < last else second >= first or second < last)
        )

    def _spans(self) -> list[tuple[int, int]]:
        return [(_clock(each[:5]), _clock(each[6:])) for each in self.hours] or [(0, _DAY_S)]

    def _is_day(self, day: int) -> bool:
        return not self.days or _DAYS[day % 7] in self.days


def _clock(text: str) -> int:
    return int(text[:2]) * 3_600 + int(text[3:]) * 60


class Run(_Option):
    """What an alert starts: a job, or assets, by name."""

    job: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")] | None = Field(default=None, description="Name of a job.")
    assets: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]+$")]] = Field(
        default_factory=list, description="Keys of assets, e.g. [signals, reports/daily]."
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @model_validator(mode="before")
    @classmethod
    def _read_job(cls, value: Any) -> Any:
        return {"job": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "Run":
        if (self.job is None) == (not self.assets):
            raise ValueError("name a job or assets, one of the two")
        return self
