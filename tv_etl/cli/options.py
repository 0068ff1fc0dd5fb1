"""Options that several commands take."""

import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

import click

from tv_etl.tradingview.moments import parse_moment

Command = TypeVar("Command", bound=Callable[..., Any])

_PARTIAL_DATE = re.compile(r"^(\d{4})(?:-(\d\d))?$")

proxy_option = click.option(
    "--proxy", metavar="URL", help="Go through this proxy, e.g. http://host:8080.  [default: $TV_ETL_PROXY or none]"
)
ws_url_option = click.option(
    "--ws-url", metavar="URL", help="WebSocket address of the server.  [default: $TV_ETL_WS_URL or TradingView]"
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


def _completed(date: "re.Match[str]") -> str:
    return f"{date[1]}-{date[2] or '01'}-01"
