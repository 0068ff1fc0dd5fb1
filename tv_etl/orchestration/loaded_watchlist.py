"""The watchlist of a code location: that of its file, or where the file has a mistake, the last good one.

Whoever starts Dagster wants to hear of a mistake before anything runs. But where a server reads the file again, because
somebody has reloaded it or Dagster starts its process anew, a slip of the pen must not stop what is collected: it goes
on with what it had. The processes of its runs load what the server has loaded, whatever the file holds by now, so that
a run never lacks the partition that it was launched for.

What is kept is in TV_ETL_STATE, else in DAGSTER_HOME; without either, a mistake is an error as it is elsewhere. Loading
definitions never touches the lake, whose directory may not be mounted.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from tv_etl.orchestration.dagster_internals import ProcessRole, process_role
from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.last_good import LastGood
from tv_etl.watchlist.model import Watchlist, WatchlistError, load_watchlist, read_document, read_watchlist

SENSOR = "watchlist_mistakes"
_INTERVAL_S = 60

_log = logging.getLogger(__name__)


class LoadedWatchlist(NamedTuple):
    """A watchlist, and what is wrong with its file, if it is not what the file holds."""

    watchlist: Watchlist
    mistake: str = ""


def load_for_process(
    file: str | Path, check: Callable[[Watchlist], object] = lambda watchlist: None
) -> LoadedWatchlist:
    """The watchlist that this process of Dagster's is to go by. Raises WatchlistError, and what `check` raises.

    What a server reads it checks: a watchlist that is sound by itself may name a job that nobody defines.
    """
    path, role = Path(file), process_role()
    home = os.environ.get("TV_ETL_STATE") or os.environ.get("DAGSTER_HOME")
    if role is ProcessRole.OTHER or not home:
        return LoadedWatchlist(load_watchlist(path))
    last_good = LastGood(Path(home), path)
    if role is ProcessRole.RUN:
        return LoadedWatchlist(last_good.load() or load_watchlist(path))
    try:
        document = read_document(path)
        watchlist = read_watchlist(Watchlist, document.content, path, document)
        check(watchlist)
    except (WatchlistError, dg.DagsterError, ValueError) as error:
        kept = last_good.load()
        if kept is None:
            raise
        _log.error("the last good watchlist stays in force: %s", error)
        return LoadedWatchlist(kept, str(error))
    try:
        last_good.keep(watchlist, document.content)
    except OSError as error:
        _log.warning("%s: a mistake in the watchlist will be an error: %s", last_good.path, error.strerror)
    return LoadedWatchlist(watchlist)


def mistake_in(file: str | Path) -> str:
    """What is wrong with a watchlist file now, each mistake with its line and column; empty if nothing is."""
    try:
        load_watchlist(file)
    except WatchlistError as error:
        return str(error)
    return ""


def build_mistake_sensor(file: str | Path, mistake: str, resources: LakeResources) -> dg.SensorDefinition:
    """A sensor of a code location that goes on with the last good watchlist: it fails for as long as that is so."""
    is_in_text = bool(mistake_in(file))

    @dg.sensor(
        name=resources.only(SENSOR),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Fails for as long as {file} has a mistake: until then the last good watchlist stays in force.",
    )
    def watchlist_mistakes(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        found = mistake_in(file) or ("" if is_in_text else f"{file}: {mistake}")
        if found:
            raise WatchlistError(f"{found}\nThe last good watchlist stays in force until this is mended.")
        return dg.SkipReason(f"{file} is right again: reload the code location, and it is in force")

    return watchlist_mistakes
