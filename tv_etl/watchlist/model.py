"""What to collect and what to watch, as written in watchlist.yaml.

Pydantic models only: nothing here fetches or stores bars, or knows Dagster. Every mistake in the file is reported with
its line and column and what would be right, all of them at once.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from tv_etl.alerts.targets.ping import Ping
from tv_etl.alerts.targets.target import TargetSpec, VariableName
from tv_etl.tradingview.currencies import check_currency
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.scan_request import ScanRequest
from tv_etl.tradingview.series import ASSUMED_WINDOW_BARS
from tv_etl.tradingview.symbols import Adjustment, SeriesSettings, SessionKind, check_symbol
from tv_etl.watchlist.cron import check_cron
from tv_etl.watchlist.deferred import Deferred
from tv_etl.watchlist.mistakes import find_mistakes
from tv_etl.watchlist.notify import Notify, read_notify
from tv_etl.watchlist.symbol_file import SymbolFileError, read_symbols
from tv_etl.watchlist.yaml_places import Location, Mistake, YamlDocument, YamlMistake, read_yaml

if TYPE_CHECKING:
    from tv_etl.alerts.rules import AlertRule
    from tv_etl.alerts.targets.slack import SlackTarget
    from tv_etl.alerts.targets.webhook import WebhookTarget

# A tick costs little where nothing has closed, so ticks come soon after the times at which sessions, bars and feeds
# delayed by a quarter of an hour close: the full, half and quarter hours.
_CRON_BY_UNIT = {
    "s": ("* * * * *", 60),
    "m": ("1-59/5 * * * *", 300),
    "d": ("20,50 * * * *", 1_800),
    "w": ("40 */6 * * *", 21_600),
    "mo": ("50 */6 * * *", 21_600),
}
_CRON_OF_HOURS = ("3-59/15 * * * *", 900)
# How long nothing may run, as in a power cut or an upgrade, without the loss of a bar.
_SAFE_DOWNTIME_S = 86_400


class LossWarning(UserWarning):
    """Without a run, bars of this interval leave the server's window within a day."""


class WatchlistError(ValueError):
    """The watchlist cannot be read; the message names the file and the line and column of every mistake in it."""

    @classmethod
    def of(cls, file: str | Path, mistakes: Sequence[Mistake]) -> "WatchlistError":
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [f"{file}:{each.place.line}:{each.place.column}: {each.text}" for each in mistakes]
        error = cls("\n".join([f"{file}: {count}", *lines]))
        error.lines = tuple(lines)
        return error

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # One for each mistake: file:line:column: text.
        self.lines: tuple[str, ...] = (message,)


def _raise_mistakes(found: Iterable[tuple[Location, str]]) -> None:
    """Raise a ValidationError of all mistakes found, if any, each with its location."""
    details = [
        InitErrorDetails(type=PydanticCustomError("mistake", "{text}", {"text": text}), loc=tuple(location), input=None)
        for location, text in found
    ]
    if details:
        raise ValidationError.from_exception_data("watchlist", details)


def _repeated(values: Sequence[Any]) -> list[tuple[int, Any]]:
    seen = set[Any]()
    found = []
    for number, value in enumerate(values):
        if value in seen:
            found.append((number, value))
        seen.add(value)
    return found


def _check_unrepeated(values: list[str]) -> list[str]:
    _raise_mistakes(([number], f"{value} is listed twice") for number, value in _repeated(values))
    return values


def _parse_token(value: object) -> str:
    # YAML reads a bare 60 as a number.
    return Interval.parse(str(value)).token


def _check_width(value: str) -> str:
    if not Interval.parse(value).is_time_based:
        raise ValueError(f"{value} is not a length of time and cannot be stored; expected e.g. 1m 1h 1d 1w")
    return value


def _read_listed_symbols(value: object, info: ValidationInfo) -> object:
    # `symbols: {scanner: ...}` lists none: the fields below read what the mapping holds.
    if not isinstance(value, dict):
        return value
    keys = {str(key) for key in value}
    if keys == {"file"}:
        folder = (info.context or {}).get("folder", Path())
        try:
            return read_symbols(Path(folder, str(value["file"])))
        except SymbolFileError as error:
            _raise_mistakes((["file"], text) for text in error.mistakes)
    if "scanner" not in keys or keys - {"scanner", "interval_s"}:
        found = f", not {', '.join(sorted(keys))}" if keys else ""
        raise ValueError(f"expected a list, or the key file, or the keys scanner and interval_s{found}")
    return []


class _SymbolsSchema:
    """The forms of `symbols` other than the list, for the JSON schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        scanner = handler(ScanRequest.__pydantic_core_schema__)
        interval_s = {"type": "integer", "minimum": 60, "default": 3_600, "description": "Seconds between two scans."}
        forms = [
            ({"file": {"type": "string"}}, "file"),
            ({"scanner": scanner, "interval_s": interval_s}, "scanner"),
        ]
        mappings = [
            {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}
            for properties, required in forms
        ]
        return {"anyOf": [handler(core), *mappings]}


Symbol = Annotated[str, AfterValidator(check_symbol)]
IntervalToken = Annotated[
    str, BeforeValidator(_parse_token), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
Cron = Annotated[str, AfterValidator(check_cron)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Model(BaseModel):
    # Each model is built as a part of the watchlist, and alone only if somebody validates it alone.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Group(_Model):
    """Symbols that are collected at the same intervals with the same settings: one Dagster asset."""

    name: Name = Field(default="bars", description="Name of the group's asset: a-z, digits and _.")
    symbols: Annotated[
        list[Symbol], AfterValidator(_check_unrepeated), BeforeValidator(_read_listed_symbols), _SymbolsSchema
    ] = Field(
        description="A list such as [NASDAQ:AAPL]; or {file: symbols.txt}, relative to this file: one symbol per line, "
        "TradingView's export of a watchlist, or a CSV with a column Symbol, or Ticker and Exchange; or "
        "{scanner: {...}, interval_s: 3600}: what the screener finds, asked every interval_s seconds; a symbol found "
        "once is collected from then on."
    )
    scanner: SkipJsonSchema[ScanRequest | None] = Field(default=None, validation_alias=AliasPath("symbols", "scanner"))
    scan_interval_s: SkipJsonSchema[int] = Field(
        default=3_600, ge=60, validation_alias=AliasPath("symbols", "interval_s")
    )
    intervals: Annotated[list[Annotated[IntervalToken, AfterValidator(_check_width)]], Field(min_length=1)] = Field(
        description="Widths of the bars, e.g. [1m, 5m, 1h, 4h, 1d, 1w, 1mo] or TradingView's [1, 60, 1D]."
    )
    adjustment: Adjustment = Field(
        default="splits", description="Adjust the history for splits, or for dividends as well."
    )
    session: SessionKind = Field(
        default="regular", description="Regular trading hours only, or pre- and post-market as well."
    )
    currency: Annotated[str, AfterValidator(check_currency)] | None = Field(
        default=None, description="ISO code of a currency to convert to, e.g. EUR."
    )
    backadjustment: bool = Field(default=False, description="Join the contracts of continuous futures without jumps.")
    initial_bars: int | None = Field(
        default=None,
        ge=1,
        description="Limits the first fetch of a series to this many bars; by default, all that the server still has.",
    )
    schedules: dict[IntervalToken, Cron | None] = Field(
        default_factory=dict,
        description="Cron expression (UTC) by interval, or null for none; intervals left out get a default.",
    )
    running: bool = Field(
        default=False,
        description="Start the schedules and sensors of the group with the code location; by default somebody has to "
        "switch them on in the web interface. What is switched there stays as it was switched.",
    )
    check_schedule: Cron | None = Field(
        default="40 5 * * *",
        description="Cron expression (UTC) for checking all that is stored, even what no run fetches; null for none.",
    )
    audit_days: int = Field(
        default=7,
        ge=0,
        description="Once in so many days a run fetches all that is stored of a series again and compares it, for "
        "what changed further back than an increment looks, such as a split that comes late; series take turns. 0 for "
        "never.",
    )
    check_each_run: bool = Field(
        default=False,
        description="Report every check of each series in the runs of the schedules, not only what is bad or has "
        "become good again. Seven events for each series in each run: 11 times the history, in SQLite.",
    )
    pictures: bool = Field(
        default=True,
        description="Add a 1 KB candlestick picture of the newest bars to the materialization of a partition that "
        "was asked for by itself, in the web interface or by a first fetch.",
    )
    automation: bool = Field(
        default=False,
        description="Fetch series that were never stored as soon as they are listed, by declarative automation.",
    )
    panel: bool = Field(
        default=False, description="Also keep a dataset with the group's symbols side by side, by interval."
    )
    daily_from: IntervalToken | None = Field(
        default=None, description="Also build daily bars from the bars of this interval, e.g. 1m."
    )
    # Where it stands in a code location that has several lakes: see `placed`.
    _asset_path: tuple[str, ...] = PrivateAttr(default=())
    _qualified_name: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _check(self) -> "Group":
        if not self.symbols and self.scanner is None:
            _raise_mistakes([(["symbols"], "list at least one, or name a file or a scanner")])
        _raise_mistakes(
            (["schedules", interval, "[key]"], f"{interval} is not among the intervals of the group")
            for interval in self.schedules
            if interval not in self.intervals
        )
        repeated = _repeated(self.intervals)
        _raise_mistakes((["intervals", number], f"{interval} is listed twice") for number, interval in repeated)
        if self.daily_from is not None and self.daily_from not in self.intervals:
            _raise_mistakes([(["daily_from"], f"{self.daily_from} is not among the intervals of the group")])
        if self.daily_from is not None and not Interval.parse(self.daily_from).is_intraday:
            _raise_mistakes([(["daily_from"], f"{self.daily_from} is not shorter than a day; write e.g. 1m")])
        for interval in self.intervals:
            pause_s = self.longest_pause_s(interval)
            if pause_s is not None:
                warnings.warn(
                    f"{self.name}: at {interval} the server has {ASSUMED_WINDOW_BARS:,} bars, so a pause of more than "
                    f"{pause_s / 3600:.1f} hours loses some for good; keep Dagster running, or choose a wider interval",
                    LossWarning,
                    stacklevel=2,
                )
        return self

    def placed(self, asset_path: Sequence[str], qualified_name: str) -> "Group":
        """The same group where its asset has this key, and all else that is named after it begins with this name."""
        copy = self.model_copy()
        copy._asset_path, copy._qualified_name = tuple(asset_path), qualified_name
        return copy

    @property
    def asset_path(self) -> tuple[str, ...]:
        """The key of the group's asset."""
        return self._asset_path or (self.name,)

    @property
    def asset_name(self) -> str:
        """The same in a line, as Dagster shows it."""
        return "/".join(self.asset_path)

    @property
    def qualified_name(self) -> str:
        """What the names of the group's jobs, schedules, sensors and partitions begin with."""
        return self._qualified_name or self.name

    @property
    def settings(self) -> SeriesSettings:
        return SeriesSettings(self.adjustment, self.session, self.currency, self.backadjustment)

    def cron(self, interval: str) -> str | None:
        """When the interval is fetched; None if it is not scheduled."""
        if interval in self.schedules:
            return self.schedules[interval]
        return _default_cron(Interval.parse(interval))[0]

    def ticks_apart_s(self, interval: str) -> int | None:
        """Seconds between two ticks of the default schedule of the interval; None where there is another, or none."""
        return None if interval in self.schedules else _default_cron(Interval.parse(interval))[1]

    def longest_pause_s(self, interval: str) -> float | None:
        """How long nothing may run before bars are lost, where that is less than a day; None where it is more.

        For a market that never closes, at the default schedule. Bars of a day or more are never lost.
        """
        width = Interval.parse(interval)
        # The tick before the pause may have come just before a close, and so may the one after it.
        pause_s = ASSUMED_WINDOW_BARS * width.seconds - 2 * _default_cron(width)[1]
        return float(max(pause_s, 0)) if pause_s < _SAFE_DOWNTIME_S else None


def _default_cron(width: Interval) -> tuple[str, int]:
    """The cron expression, and the seconds between its ticks."""
    return _CRON_OF_HOURS if width.unit == "m" and width.count >= 60 else _CRON_BY_UNIT[width.unit]


@cache
def _load_rules() -> "TypeAdapter[AlertRule]":
    from tv_etl.alerts.rules import AnyRule

    return TypeAdapter(AnyRule)


@cache
def _load_targets() -> TypeAdapter[TargetSpec]:
    from tv_etl.alerts.targets.configured import AnyTarget

    return TypeAdapter(AnyTarget)


if TYPE_CHECKING:
    _Rule = AlertRule
    _Target = TargetSpec
else:
    # Every run, tick and code server reads a watchlist. All kinds of rules and targets are some 40 models, half of
    # what that costs, and are loaded only where there is a rule or a target.
    _Rule = Annotated[Any, Deferred(_load_rules)]
    _Target = Annotated[Any, Deferred(_load_targets)]


class Webhook(_Model):
    """An earlier form of a target: its address is in the environment variable `url_env`."""

    url_env: VariableName = Field(description="Name of the environment variable that holds the address.")
    kind: Literal["json", "slack"] = Field(default="json", description="json for a webhook, or slack.")
    allow_private: bool = Field(default=False, description="Allow addresses of private networks and of this host.")

    @property
    def target(self) -> "WebhookTarget | SlackTarget":
        """The same as a target."""
        from tv_etl.alerts.targets.slack import SlackTarget
        from tv_etl.alerts.targets.webhook import WebhookTarget

        if self.kind == "slack":
            return SlackTarget(type="slack", url_env=self.url_env, allow_private=self.allow_private)
        return WebhookTarget(type="webhook", url_env=self.url_env, allow_private=self.allow_private)


class Alerts(_Model):
    """Rules on prices, and where an alert is delivered."""

    rules: list[_Rule] = Field(default_factory=list, description="What to watch for, see AlertRule.")
    targets: list[_Target] = Field(
        default_factory=list,
        description="Where alerts are sent: by `type`, a WebhookTarget, SlackTarget, DiscordTarget, TelegramTarget, "
        "NtfyTarget, PagerDutyTarget, EmailTarget or AppriseTarget.",
    )
    webhooks: list[Webhook] = Field(
        default_factory=list, description="An earlier form of targets: {url_env: NAME, kind: json or slack}."
    )
    running: bool = Field(
        default=False,
        description="Start the sensors and the schedule of the alerts with the code location; by default somebody has "
        "to switch them on in the web interface.",
    )
    ping: Ping | None = Field(
        default=None, description="A dead man's switch that is called as long as the rules are judged, see Ping."
    )
    interval_s: int = Field(default=30, ge=5, description="Seconds between two evaluations of the rules.")
    silence_s: int = Field(
        default=600,
        ge=30,
        description="Seconds after which it is told that nothing comes: of a symbol that should trade, of all symbols, "
        "or from a webhook.",
    )

    @model_validator(mode="after")
    def _check(self) -> "Alerts":
        names = _repeated([rule.name for rule in self.rules])
        _raise_mistakes((["rules", number, "name"], f"the name {name} is used twice") for number, name in names)
        called = _repeated([target.called for target in self.all_targets])
        places: list[Location] = [("targets", number, "name") for number in range(len(self.targets))]
        places += [("webhooks", number, "url_env") for number in range(len(self.webhooks))]
        _raise_mistakes(
            (places[number], f"two targets are called {name}; give one of them another `name`")
            for number, name in called
        )
        return self

    @property
    def all_targets(self) -> list[TargetSpec]:
        """The targets, in whatever form they are written."""
        return [*self.targets, *(each.target for each in self.webhooks)]


def _check_days(value: object) -> object:
    # To pydantic true is 1, and a day is not what whoever writes it means.
    if value is None or isinstance(value, bool):
        raise ValueError(f"{json.dumps(value)} is no number of days; write e.g. 30, or 0 to delete nothing")
    return value


KeepDays = Annotated[int, Field(ge=0), BeforeValidator(_check_days)]


class _NotifySchema:
    """`true` and `false` beside the mapping, for the JSON schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "boolean"}, handler(core)]}


class Watchlist(_Model):
    """The whole file."""

    groups: list[Group] = Field(min_length=1, description="What to collect, see Group.")
    alerts: Alerts = Field(default_factory=Alerts, description="What to watch, see Alerts.")
    notify: Annotated[Notify | None, BeforeValidator(read_notify), _NotifySchema] = Field(
        default=None,
        description="Tell on the targets of alerts when collecting fails: true for all of it, or see Notify.",
    )
    keep_history: KeepDays = Field(
        default=30,
        description="Days for which Dagster keeps the runs, events and logs of the lake's own assets; what still tells "
        "how a partition stands stays. 0 deletes nothing.",
    )

    @model_validator(mode="after")
    def _check_notify(self) -> "Watchlist":
        known = [target.called for target in self.alerts.all_targets]
        there_are = f"there are {', '.join(known)}" if known else "alerts.targets has none"
        _raise_mistakes(
            (["notify", "targets", number], f"no target is called {name}; {there_are}")
            for number, name in enumerate(self.notify.targets if self.notify else ())
            if name not in known
        )
        return self

    @model_validator(mode="after")
    def _check(self) -> "Watchlist":
        names = _repeated([group.name for group in self.groups])
        found: list[tuple[Location, str]] = [
            (["groups", number, "name"], f"the name {name} is used twice") for number, name in names
        ]
        found += [
            (["groups", number, "name"], "alerts is what is told; choose another name")
            for number, group in enumerate(self.groups)
            if group.name == "alerts" and (self.alerts.rules or self.notify)
        ]
        found += [
            (["groups", number, "name"], "lake is the lake at a glance; choose another name")
            for number, group in enumerate(self.groups)
            if group.name == "lake"
        ]
        owners: dict[tuple[str, str], str] = {}
        for number, group in enumerate(self.groups):
            for place, symbol in enumerate(group.symbols):
                for interval in group.intervals:
                    owner = owners.setdefault((symbol, interval), group.name)
                    if owner != group.name:
                        text = f"{symbol} {interval} is in both {owner} and {group.name}; keep it in one"
                        found.append((["groups", number, "symbols", place], text))
        known = [group.name for group in self.groups]
        found += [
            (
                ["alerts", "rules", number, "symbols", "group"],
                f"{rule.group} is no group; known groups: {', '.join(known)}",
            )
            for number, rule in enumerate(self.alerts.rules)
            if rule.group is not None and rule.group not in known
        ]
        _raise_mistakes(found)
        return self


AnyWatchlist = TypeVar("AnyWatchlist", bound=Watchlist)


def read_watchlist(
    model: type[AnyWatchlist],
    content: object,
    file: Path,
    document: YamlDocument | None = None,
    at: Location = (),
    schema: Mapping[str, Any] | None = None,
) -> AnyWatchlist:
    """Validate the content found at a location of a file's document. Raises WatchlistError.

    Symbol files are relative to the file. The `schema` names the keys that are known, by default those of the model.
    """
    try:
        watchlist = model.model_validate(content, context={"folder": file.parent})
    except ValidationError as error:
        raise WatchlistError.of(file, find_mistakes(schema or model.model_json_schema(), error, document, at)) from None
    if document is not None and (repeated := list(document.repeated_keys())):
        raise WatchlistError.of(file, repeated)
    return watchlist


def load_watchlist(path: str | Path) -> Watchlist:
    """Read a watchlist file. Raises WatchlistError."""
    file = Path(path)
    document = read_document(file)
    return read_watchlist(Watchlist, document.content, file, document)


def read_document(file: Path) -> YamlDocument:
    """The one YAML document of a file. Raises WatchlistError."""
    documents = read_documents(file)
    if len(documents) > 1:
        raise WatchlistError.of(file, [Mistake(documents[1].place, "a second document; expected one")])
    return documents[0]


def read_documents(file: Path) -> list[YamlDocument]:
    """The YAML documents of a file. Raises WatchlistError."""
    try:
        return read_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WatchlistError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WatchlistError(f"{file}: not UTF-8 at byte {error.start}") from None
    except YamlMistake as error:
        raise WatchlistError.of(file, [error.mistake]) from None
