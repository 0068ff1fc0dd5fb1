"""Options that several commands take."""

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import click

from tv_etl.tradingview.moments import parse_moment

Command = TypeVar("Command", bound=Callable[..., Any])

# Of a fetch where nothing says how much.
DEFAULT_BARS = 300

_PARTIAL_DATE = re.compile(r"^(\d{4})(?:-(\d\d))?$")

proxy_option = click.option(
    "--proxy", metavar="URL", help="Go through this proxy, e.g. http://host:8080.  [default: $TV_ETL_PROXY or none]"
)
ws_url_option = click.option(
    "--ws-url", metavar="URL", help="WebSocket address of the server.  [default: $TV_ETL_WS_URL or TradingView]"
)
days_option = click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="The bars of so many days up to now."
)
start_option = click.option(
    "--start",
    "--since",
    metavar="TIME",
    help="Bars that open at or after this ISO 8601 time, e.g. 2024-01; UTC unless an offset is given.",
)
end_option = click.option("--end", "--until", metavar="TIME", help="Bars that open before this time.")
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "json"]),
    help="[default: by the file's extension; parquet in a directory, csv on stdout]",
)


def lake_option(
    help: str = "Directory of the lake, or its address in an object store.",
) -> Callable[[Command], Command]:
    """The option of a lake that is there already, as a rule."""
    return click.option(
        "--lake",
        default=lambda: os.environ.get("TV_ETL_LAKE") or "lake",
        show_default="$TV_ETL_LAKE or lake",
        help=help,
    )


def parse_time(name: str, text: str | None) -> datetime | None:
    """Read an ISO 8601 time, in UTC unless an offset is given; a year or a month is its beginning.

    Raises ValueError, whose message begins with `name`.
    """
    if text is None:
        return None
    try:
        return parse_moment(_PARTIAL_DATE.sub(_completed, text), timezone.utc)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def chosen_range(
    bars: int | None, days: float | None, start: datetime | None, is_all: bool, now: datetime
) -> tuple[int | None, datetime | None]:
    """How many bars, or since when, as the options of the command line say it; neither for all that there is.

    Raises ValueError if they say it twice.
    """
    given = {"--bars": bars is not None, "--days": days is not None, "--start": start is not None, "--all": is_all}
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} both say how much: give one of them")
    if days is not None:
        try:
            return None, now - timedelta(days=days)
        except OverflowError:
            raise ValueError(f"--days {days:g} reaches back before the year 1; for all there is write --all") from None
    return (bars if names else DEFAULT_BARS), start


def _completed(date: "re.Match[str]") -> str:
    return f"{date[1]}-{date[2] or '01'}-01"
