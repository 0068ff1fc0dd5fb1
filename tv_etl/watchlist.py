"""What to collect and what to watch, as written in watchlist.yaml.

Pydantic models only: nothing here fetches, stores or knows Dagster. Every mistake in the file is reported with the
place where it stands.
"""

import re
import warnings
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from tv_etl.alerts import AlertRule
from tv_etl.coverage import ASSUMED_WINDOW_BARS
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.scanner import ScanRequest
from tv_etl.tradingview.symbols import Adjustment, SeriesSettings, SessionKind, check_symbol

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
    """The watchlist cannot be read; the message names the file and every wrong place in it."""


def _interval_token(value: object) -> str:
    # YAML reads a bare 60 as a number.
    return Interval.parse(str(value)).token


def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable, e.g. TV_ETL_WEBHOOK_URL")
    return value


def _listed_symbols(value: object) -> object:
    # `symbols: {scanner: ...}` lists none: the fields below read what the mapping holds.
    if not isinstance(value, dict):
        return value
    unknown = sorted(str(key) for key in set(value) - {"scanner", "interval_s"})
    if unknown or "scanner" not in value:
        raise ValueError(f"expected a list, or scanner and interval_s{': not ' if unknown else ''}{', '.join(unknown)}")
    return []


Symbol = Annotated[str, AfterValidator(check_symbol)]
IntervalToken = Annotated[str, BeforeValidator(_interval_token)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Model):
    """Symbols that are collected at the same intervals with the same settings: one Dagster asset.

    `symbols` is a list, or `{scanner: {market: ..., filters: [...], sort: ..., limit: ...}, interval_s: 3600}`: what
    the screener finds, asked at that interval. A symbol that was found once is collected from then on.
    `initial_bars` limits the first fetch of a series; without it everything the server still has is fetched.
    `panel` keeps all symbols side by side as well, `daily_from: 1m` daily bars that are built of the minutes.
    `schedules` maps an interval to a cron expression (UTC) or to null for none; intervals left out get a default.
    `pictures` puts candlesticks of the newest bars, 1 KB, into Dagster's event log with every materialization.
    With `automation` series that were never stored are fetched as soon as they are listed, by declarative automation.
    """

    name: Name = "bars"
    symbols: Annotated[list[Symbol], BeforeValidator(_listed_symbols)]
    scanner: ScanRequest | None = Field(default=None, validation_alias=AliasPath("symbols", "scanner"))
    scan_interval_s: int = Field(default=3_600, ge=60, validation_alias=AliasPath("symbols", "interval_s"))
    intervals: list[IntervalToken] = Field(min_length=1)
    adjustment: Adjustment = "splits"
    session: SessionKind = "regular"
    currency: str | None = None
    backadjustment: bool = False
    initial_bars: int | None = Field(default=None, ge=1)
    panel: bool = False
    daily_from: IntervalToken | None = None
    schedules: dict[IntervalToken, str | None] = Field(default_factory=dict)
    pictures: bool = True
    automation: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Group":
        if not self.symbols and self.scanner is None:
            raise ValueError("symbols: name at least one, or a scanner that finds them")
        for field, values in (("symbols", self.symbols), ("intervals", self.intervals)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{field}: {', '.join(twice)} stands there twice")
        unknown = sorted(set(self.schedules) - set(self.intervals))
        if unknown:
            raise ValueError(f"schedules: {', '.join(unknown)} is not among the intervals of the group")
        if self.daily_from is not None and self.daily_from not in self.intervals:
            raise ValueError(f"daily_from: {self.daily_from} is not among the intervals of the group")
        if self.daily_from is not None and not Interval.parse(self.daily_from).is_intraday:
            raise ValueError(f"daily_from: {self.daily_from} is no part of a day; write e.g. 1m")
        ticks = [interval for interval in self.intervals if not Interval.parse(interval).is_time_based]
        if ticks:
            raise ValueError(f"intervals: {', '.join(ticks)} has no width in time and cannot be stored")
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

    url_env: Annotated[str, AfterValidator(_variable_name)]
    kind: Literal["json", "slack"] = "json"
    allow_private: bool = False


class Alerts(_Model):
    """Rules on prices, and where an alert is delivered."""

    rules: list[AlertRule] = Field(default_factory=list)
    webhooks: list[WebhookTarget] = Field(default_factory=list)
    interval_s: int = Field(default=30, ge=5)

    @model_validator(mode="after")
    def _check(self) -> "Alerts":
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules: the name {', '.join(twice)} stands there twice")
        if self.rules and not self.webhooks:
            raise ValueError("webhooks: the rules have nobody to tell; name at least one")
        return self


class Watchlist(_Model):
    """The whole file."""

    groups: list[Group] = Field(min_length=1)
    alerts: Alerts = Field(default_factory=Alerts)

    @model_validator(mode="after")
    def _check(self) -> "Watchlist":
        names = [group.name for group in self.groups]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"groups: the name {', '.join(twice)} stands there twice")
        owners: dict[tuple[str, str], str] = {}
        for group in self.groups:
            for series in ((symbol, interval) for symbol in group.symbols for interval in group.intervals):
                if series in owners:
                    raise ValueError(f"groups: {series[0]} {series[1]} stands in {owners[series]} and in {group.name}")
                owners[series] = group.name
        return self


def load_watchlist(path: str | Path) -> Watchlist:
    """Read a watchlist file. Raises WatchlistError."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise WatchlistError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise WatchlistError(f"{path}: {error}") from None
    try:
        return Watchlist.model_validate(content)
    except ValidationError as error:
        places = [f"  {'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
        raise WatchlistError("\n".join([f"{path}:", *places])) from None
