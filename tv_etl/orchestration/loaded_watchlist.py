"""The watchlist of a code location: that of its file, or where the file has a mistake, the last good one.

Whoever starts Dagster wants to hear of a mistake before anything runs. But where a server reads the file again, because
somebody has reloaded it or Dagster starts its process anew, a slip of the pen must not stop what is collected: it goes
on with what it had. The processes of its runs load what the server has loaded, whatever the file holds by now, so that
a run never lacks the partition that it was launched for.

Dagster reloads by a new process, so what is kept is in files: in TV_ETL_STATE, else in DAGSTER_HOME; without either, a
mistake is an error as it is elsewhere. Loading definitions never touches the lake, whose directory may not be mounted.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from tv_etl.orchestration.dagster_internals import ProcessRole, ResolutionException, process_role
from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.last_good import LastGood, with_symbols
from tv_etl.watchlist.model import (
    AnyWatchlist,
    Watchlist,
    WatchlistError,
    load_watchlist,
    read_document,
    read_watchlist,
)

SENSOR = "watchlist_mistakes"
# What a mistake raises: a template that cannot be filled in is one as well.
MISTAKES = (WatchlistError, ResolutionException, dg.DagsterError, ValueError)
_INTERVAL_S = 60

_log = logging.getLogger(__name__)


class StandingMistake:
    """Why the last good watchlist is in force, and whether the file still is wrong."""

    def __init__(self, file: Path, text: str, find: Callable[[], str]) -> None:
        """`find` reads the file again and tells what is wrong with it; empty if nothing is."""
        self.file = file
        self.text = text
        self._find = find
        # What only shows beside other definitions stays until these are loaded again.
        self._is_in_text = bool(find())

    def find(self) -> str:
        """What is wrong now, each mistake with its line and column; empty if nothing is any more."""
        return self._find() or ("" if self._is_in_text else f"{self.file}: {self.text}")


class LoadedWatchlist(NamedTuple):
    """A watchlist, and what is wrong with its file, if it is not what the file holds."""

    watchlist: Watchlist
    mistakes: Sequence[StandingMistake] = ()


def load_for_process(
    file: str | Path, check: Callable[[Watchlist], object] = lambda watchlist: None
) -> LoadedWatchlist:
    """The watchlist that this process of Dagster's is to go by. Raises WatchlistError, and what `check` raises.

    What a server reads it checks: a watchlist that is sound by itself may name a job that nobody defines.
    """
    path = Path(file)

    def read() -> tuple[Watchlist, Mapping[str, Any]]:
        document = read_document(path)
        watchlist = read_watchlist(Watchlist, document.content, path, document)
        if process_role() is ProcessRole.SERVER:
            check(watchlist)
        return watchlist, with_symbols(document.content, watchlist.groups)

    watchlist, mistake = in_force(str(path.absolute()), read, Watchlist.model_validate)
    return LoadedWatchlist(watchlist, [StandingMistake(path, mistake, lambda: mistake_in(path))] if mistake else [])


def in_force(
    place: str,
    read: Callable[[], tuple[AnyWatchlist, Mapping[str, Any] | None]],
    read_kept: Callable[[Mapping[str, Any]], AnyWatchlist],
) -> tuple[AnyWatchlist, str]:
    """What this process of Dagster's is to go by of what is at a place, and why it is not what `read` gives.

    `read` gives the watchlist and its content, which is kept unless it is None; `read_kept` makes one of kept content.
    Raises what `read` raises if nothing is kept, or if a mistake must be an error.
    """
    role = process_role()
    home = os.environ.get("TV_ETL_STATE") or os.environ.get("DAGSTER_HOME")
    if role is ProcessRole.OTHER or not home:
        return read()[0], ""
    last_good = LastGood(Path(home), place)
    if role is ProcessRole.RUN:
        return _kept(last_good, read_kept) or read()[0], ""
    try:
        watchlist, content = read()
    except MISTAKES as error:
        kept = _kept(last_good, read_kept)
        if kept is None:
            raise
        _log.error("the last good watchlist stays in force: %s", error)
        return kept, str(error)
    if content is not None:
        try:
            last_good.keep(content)
        except OSError as error:
            _log.warning("%s: a mistake in the watchlist will be an error: %s", last_good.path, error.strerror)
    return watchlist, ""


def _kept(last_good: LastGood, read_kept: Callable[[Mapping[str, Any]], AnyWatchlist]) -> AnyWatchlist | None:
    content = last_good.load()
    if content is not None:
        with suppress(*MISTAKES):
            return read_kept(content)
    return None


def mistake_in(file: str | Path) -> str:
    """What is wrong with a watchlist file now, each mistake with its line and column; empty if nothing is."""
    try:
        load_watchlist(file)
    except WatchlistError as error:
        return str(error)
    return ""


def build_mistake_sensor(mistakes: Sequence[StandingMistake], resources: LakeResources) -> dg.SensorDefinition:
    """A sensor of a code location that goes on with the last good watchlist: it fails for as long as that is so."""
    files = " and ".join(str(each.file) for each in mistakes)

    @dg.sensor(
        name=resources.only(SENSOR),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Fails for as long as {files} has a mistake: until then the last good watchlist stays in force.",
    )
    def watchlist_mistakes(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        found = [text for text in (each.find() for each in mistakes) if text]
        if found:
            raise WatchlistError("\n".join([*found, "The last good watchlist stays in force until this is mended."]))
        return dg.SkipReason(f"{files} is right again: reload the code location, and it is in force")

    return watchlist_mistakes
