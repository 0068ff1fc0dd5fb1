"""What to collect and what to watch, as written in watchlist.yaml.

Pydantic models only: nothing here fetches bars, stores or knows Dagster. Every mistake in the file is reported with its
line and column and what would be right, all of them at once.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from tv_etl.alerts.rules import AlertRule
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import ASSUMED_WINDOW_BARS
from tv_etl.tradingview.scanner import ScanRequest
from tv_etl.tradingview.symbols import Adjustment, SeriesSettings, SessionKind, check_symbol
from tv_etl.watchlist.cron import check_cron
from tv_etl.watchlist.mistakes import find_mistakes
from tv_etl.watchlist.symbol_file import SymbolFileError, read_symbols
from tv_etl.watchlist.yaml_places import Location, Mistake, YamlDocument, YamlMistake, read_yaml

# A tick costs little where nothing has closed, so each comes soon after the times that sessions, bars and feeds with a
# delay of a quarter of an hour close at: on the hour, the half and the quarters.
_CRON_BY_UNIT = {
    "s": ("* * * * *", 60),
    "m": ("1-59/5 * * * *", 300),
    "d": ("20,50 * * * *", 1_800),
    "w": ("40 */6 * * *", 21_600),
    "mo": ("50 */6 * * *", 21_600),
}
_CRON_OF_HOURS = ("3-59/15 * * * *", 900)
# So long nothing may run, for a weekend's power cut or an upgrade, without the loss of a bar.
_DOWNTIME_S = 86_400


class LossWarning(UserWarning):
    """An interval whose bars leave the server's window within a day without a run."""


class WatchlistError(ValueError):
    """The watchlist cannot be read; the message names the file and the line and column of every mistake in it."""

    @classmethod
    def of(cls, file: str | Path, mistakes: Sequence[Mistake]) -> "WatchlistError":
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [f"{file}:{each.place.line}:{each.place.column}: {each.text}" for each in mistakes]
        return cls("\n".join([f"{file}: {count}", *lines]))


def _mistakes(found: Iterable[tuple[Location, str]]) -> None:
    """Raise what was found wrong, each with its own location."""
    details = [
        InitErrorDetails(type=PydanticCustomError("mistake", "{text}", {"text": text}), loc=tuple(location), input=None)
        for location, text in found
    ]
    if details:
        raise ValidationError.from_exception_data("watchlist", details)


def _repeated(values: Sequence[Any]) -> list[tuple[int, Any]]:
    return [(number, value) for number, value in enumerate(values) if value in values[:number]]


def _without_repetition(values: list[str]) -> list[str]:
    _mistakes(([number], f"{value} stands there twice") for number, value in _repeated(values))
    return values


def _interval_token(value: object) -> str:
    # YAML reads a bare 60 as a number.
    return Interval.parse(str(value)).token


def _with_width(value: str) -> str:
    if not Interval.parse(value).is_time_based:
        raise ValueError(f"{value} has no width in time and cannot be stored; expected e.g. 1m 1h 1d 1w")
    return value


def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable, e.g. TV_ETL_WEBHOOK_URL")
    return value


def _listed_symbols(value: object, info: ValidationInfo) -> object:
    # `symbols: {scanner: ...}` lists none: the fields below read what the mapping holds.
    if not isinstance(value, dict):
        return value
    keys = {str(key) for key in value}
    if keys == {"file"}:
        folder = (info.context or {}).get("folder", Path())
        try:
            return read_symbols(Path(folder, str(value["file"])))
        except SymbolFileError as error:
            _mistakes((["file"], text) for text in error.mistakes)
    if "scanner" not in keys or keys - {"scanner", "interval_s"}:
        found = f", not {', '.join(sorted(keys))}" if keys else ""
        raise ValueError(f"expected a list, or file, or scanner and interval_s{found}")
    return []


class _SymbolsSchema:
    """The forms of `symbols` that JSON schema has to know beside the list."""

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
    str, BeforeValidator(_interval_token), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
Cron = Annotated[str, AfterValidator(check_cron)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Model):
    """Symbols that are collected at the same intervals with the same settings: one Dagster asset."""

    name: Name = Field(default="bars", description="Name of the group's asset: a-z, digits and _.")
    symbols: Annotated[
        list[Symbol], AfterValidator(_without_repetition), BeforeValidator(_listed_symbols), _SymbolsSchema
    ] = Field(
        description="A list such as [NASDAQ:AAPL]; or {file: symbols.txt}, one symbol a line, or the column symbol of "
        "a .csv, relative to this file; or {scanner: {...}, interval_s: 3600}, what the screener finds, asked at that "
        "interval: a symbol that was found once is collected from then on."
    )
    scanner: SkipJsonSchema[ScanRequest | None] = Field(default=None, validation_alias=AliasPath("symbols", "scanner"))
    scan_interval_s: SkipJsonSchema[int] = Field(
        default=3_600, ge=60, validation_alias=AliasPath("symbols", "interval_s")
    )
    intervals: Annotated[list[Annotated[IntervalToken, AfterValidator(_with_width)]], Field(min_length=1)] = Field(
        description="Widths of the bars, e.g. [1m, 5m, 1h, 4h, 1d, 1w, 1mo] or TradingView's [1, 60, 1D]."
    )
    adjustment: Adjustment = Field(
        default="splits", description="Adjust the history for splits, or for dividends as well."
    )
    session: SessionKind = Field(
        default="regular", description="Without or with bars before and after the main session."
    )
    currency: str | None = Field(default=None, description="ISO code of a currency to convert to, e.g. EUR.")
    backadjustment: bool = Field(default=False, description="Join the contracts of continuous futures without jumps.")
    initial_bars: int | None = Field(
        default=None,
        ge=1,
        description="Limit of the first fetch of a series; without it everything the server still has is fetched.",
    )
    schedules: dict[IntervalToken, Cron | None] = Field(
        default_factory=dict,
        description="Cron expression (UTC) by interval, or null for none; intervals left out get a default.",
    )
    check_schedule: Cron | None = Field(
        default="40 5 * * *",
        description="Cron expression (UTC) for judging what is stored, fetched or not, or null for no such schedule.",
    )
    check_each_run: bool = Field(
        default=True,
        description="Judge each series in the run that fetches it as well. That is most of what a run costs Dagster: "
        "six events, 52 KB in SQLite, for each series. Switch it off for hundreds of series every few minutes.",
    )
    pictures: bool = Field(
        default=True,
        description="Put candlesticks of the newest bars, 1 KB, into Dagster's event log with every materialization.",
    )
    automation: bool = Field(
        default=False,
        description="Fetch series that were never stored as soon as they are listed, by declarative automation.",
    )
    panel: bool = Field(default=False, description="Keep all symbols of an interval side by side as well.")
    daily_from: IntervalToken | None = Field(
        default=None, description="Build daily bars of this interval's bars as well, e.g. 1m."
    )

    @model_validator(mode="after")
    def _check(self) -> "Group":
        if not self.symbols and self.scanner is None:
            _mistakes([(["symbols"], "name at least one, or a file or a scanner that has them")])
        _mistakes(
            (["schedules", interval, "[key]"], f"{interval} is not among the intervals of the group")
            for interval in self.schedules
            if interval not in self.intervals
        )
        repeated = _repeated(self.intervals)
        _mistakes((["intervals", number], f"{interval} stands there twice") for number, interval in repeated)
        if self.daily_from is not None and self.daily_from not in self.intervals:
            _mistakes([(["daily_from"], f"{self.daily_from} is not among the intervals of the group")])
        if self.daily_from is not None and not Interval.parse(self.daily_from).is_intraday:
            _mistakes([(["daily_from"], f"{self.daily_from} is no part of a day; write e.g. 1m")])
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

    @property
    def settings(self) -> SeriesSettings:
        return SeriesSettings(self.adjustment, self.session, self.currency, self.backadjustment)

    def cron(self, interval: str) -> str | None:
        """When the interval is fetched; None if it is not scheduled."""
        if interval in self.schedules:
            return self.schedules[interval]
        return _default_cron(Interval.parse(interval))[0]

    def longest_pause_s(self, interval: str) -> float | None:
        """How long nothing may run before bars are lost, where that is less than a day; None where it is more.

        Of a market that never closes, at the default schedule. Bars of a day and more are not lost at all.
        """
        width = Interval.parse(interval)
        # The tick before the pause may have come just before a close, and so may the one after it.
        pause_s = ASSUMED_WINDOW_BARS * width.seconds - 2 * _default_cron(width)[1]
        return float(max(pause_s, 0)) if pause_s < _DOWNTIME_S else None


def _default_cron(width: Interval) -> tuple[str, int]:
    """The cron expression, and the seconds from tick to tick."""
    return _CRON_OF_HOURS if width.unit == "m" and width.count >= 60 else _CRON_BY_UNIT[width.unit]


class WebhookTarget(_Model):
    """Where alerts go: the URL stands in the environment variable `url_env`, never in the file."""

    url_env: Annotated[str, AfterValidator(_variable_name)] = Field(
        description="Name of the environment variable that holds the address."
    )
    kind: Literal["json", "slack"] = Field(default="json", description="The alert as JSON, or a message for Slack.")
    allow_private: bool = Field(default=False, description="Allow addresses of private networks and of this host.")


class Alerts(_Model):
    """Rules on prices, and where an alert is delivered."""

    rules: list[AlertRule] = Field(default_factory=list, description="What to watch for, see AlertRule.")
    webhooks: list[WebhookTarget] = Field(default_factory=list, description="Who is told, see WebhookTarget.")
    interval_s: int = Field(default=30, ge=5, description="Seconds between two evaluations of the rules.")

    @model_validator(mode="after")
    def _check(self) -> "Alerts":
        names = _repeated([rule.name for rule in self.rules])
        _mistakes((["rules", number, "name"], f"the name {name} stands there twice") for number, name in names)
        if self.rules and not self.webhooks:
            _mistakes([(["webhooks"], "the rules have nobody to tell; name at least one")])
        return self


class Watchlist(_Model):
    """The whole file."""

    groups: list[Group] = Field(min_length=1, description="What to collect, see Group.")
    alerts: Alerts = Field(default_factory=Alerts, description="What to watch, see Alerts.")

    @model_validator(mode="after")
    def _check(self) -> "Watchlist":
        names = _repeated([group.name for group in self.groups])
        found: list[tuple[Location, str]] = [
            (["groups", number, "name"], f"the name {name} stands there twice") for number, name in names
        ]
        owners: dict[tuple[str, str], str] = {}
        for number, group in enumerate(self.groups):
            for place, symbol in enumerate(group.symbols):
                for interval in group.intervals:
                    owner = owners.setdefault((symbol, interval), group.name)
                    if owner != group.name:
                        text = f"{symbol} {interval} stands in {owner} and in {group.name}"
                        found.append((["groups", number, "symbols", place], text))
        _mistakes(found)
        return self


AnyWatchlist = TypeVar("AnyWatchlist", bound=Watchlist)


def read_watchlist(
    model: type[AnyWatchlist],
    content: object,
    file: Path,
    document: YamlDocument | None = None,
    at: Location = (),
) -> AnyWatchlist:
    """The watchlist that was written at a location of a document of a file. Raises WatchlistError.

    Symbol files are looked for beside the file.
    """
    try:
        watchlist = model.model_validate(content, context={"folder": file.parent})
    except ValidationError as error:
        raise WatchlistError.of(file, find_mistakes(model, error, document, at)) from None
    if document is not None and (repeated := list(document.repeated_keys())):
        raise WatchlistError.of(file, repeated)
    return watchlist


def load_watchlist(path: str | Path) -> Watchlist:
    """Read a watchlist file. Raises WatchlistError."""
    file = Path(path)
    documents = read_documents(file)
    if len(documents) > 1:
        raise WatchlistError.of(file, [Mistake(documents[1].place, "a second document; expected one")])
    return read_watchlist(Watchlist, documents[0].content, file, documents[0])


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
