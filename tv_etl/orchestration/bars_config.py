"""What a run of a `bars` asset may be asked for in its config, and how often it retries by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

MAX_RETRIES = 2

# Plain types: a `dg.Config` would take {"env": NAME} for any text, and so hand a run the code server's environment.
CONFIG_SCHEMA = {
    "start": dg.Field(
        dg.Noneable(str), default_value=None, description="Backfill from this time on; ISO 8601 with an offset."
    ),
    "end": dg.Field(
        dg.Noneable(str),
        default_value=None,
        description="Backfill up to this time (exclusive); ISO 8601 with an offset. "
        "All bars from the start up to now come with them, and are stored.",
    ),
    "refetch": dg.Field(
        bool,
        default_value=False,
        description=(
            "Set damaged files aside, then ask also for what is already stored or known to be empty. Without start and "
            "end: for all that is stored."
        ),
    ),
    "seam": dg.Field(
        dg.Noneable(str),
        default_value=None,
        description="Resolve the newest open seam of each selected series first: accept, cut, or scale 0.25.",
    ),
    "only": dg.Field(
        [str],
        default_value=[],
        description="Fetch just these partition keys, e.g. 1d|NASDAQ:AAPL, in a run launched without a partition.",
    ),
}


@dataclass(frozen=True)
class BarsConfig:
    """What a run asks for, as CONFIG_SCHEMA describes it; empty means an increment of every selected partition."""

    start: str | None = None
    end: str | None = None
    refetch: bool = False
    seam: str | None = None
    only: Sequence[str] = ()
