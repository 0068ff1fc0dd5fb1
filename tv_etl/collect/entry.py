"""How bars enter a series: in one transaction, which judges whether they join what is stored and stores them if so."""

from dataclasses import replace
from datetime import datetime, timezone

import pyarrow as pa

from tv_etl.collect.answer import require_bars
from tv_etl.collect.ask import Ask
from tv_etl.collect.fit import fitted
from tv_etl.collect.join import ask_again, joins_from
from tv_etl.lake.bars import Bars
from tv_etl.lake.errors import NotJoinedError
from tv_etl.lake.provenance import Imported
from tv_etl.lake.readjustment import Unproven
from tv_etl.lake.record import Rename
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.store import BarStore
from tv_etl.lake.update import Update
from tv_etl.lake.upsert import Commit, find_scale
from tv_etl.tradingview.moments import utc
from tv_etl.tradingview.series import Series

_BEGINNING = datetime(1, 1, 1, tzinfo=timezone.utc)


def enter_answer(store: BarStore, asked: Ask, answer: pa.Table, *, newest: int = 0) -> Commit | Ask:
    """Store an answer of `fetch_history`; or store nothing and return what to ask for in its place.

    Raises DamagedAnswerError if rows of the answer were not bars, UnvouchedAnswerError if it does not say, and as
    `BarStore.upsert` does.
    """
    require_bars(asked.request.series, answer)
    update = store.update_of(asked.request.series, answer)

    def judge(stored: StoredSeries) -> Update | Ask:
        return ask_again(stored, asked, update) or update

    return store.commit(asked.request.series, update, judge=judge, newest=newest, begins_with=asked.state)


def enter_table(store: BarStore, series: Series, bars: pa.Table, *, provenance: str) -> Commit:
    """Store bars that did not come over the wire: a table of `BAR_SCHEMA`, with facts as `BarStore.upsert` has them.

    `provenance` says for people where they came from. They have to join what is stored, and are brought to its scale;
    a bar that the server has sent stands. Raises NotJoinedError with nothing stored, which says why, and as
    `BarStore.upsert` does.
    """
    update = store.update_of(series, bars)
    if not provenance:
        raise ValueError("provenance is empty: say where the bars came from, e.g. the name of the file")
    times = update.closed.times
    if len(times):
        whole = Imported(int(times[0]), int(times[-1]) + 1, provenance)
        update = replace(update, imported=(whole,))
    return enter_imported(store, series, update)


def enter_imported(store: BarStore, series: Series, update: Update) -> Commit:
    """Store an update that says where each of its bars came from, as `enter_table` does."""
    entered = store.commit(series, update, judge=lambda stored: fitted(stored, update))
    if isinstance(entered, NotJoinedError):
        raise entered
    return entered


def enter_renamed(
    store: BarStore, old: Series, new: Series, renames: tuple[Rename, ...] = (), *, is_whole: bool = False
) -> Commit:
    """Store all that is known of one series under another name as well, which the instrument has now.

    Bars, quarantine, facts, spans asked and window; the old series stays. The `renames` by which the bars come go on
    record. If it `is_whole`, nobody has more of it: a ratio that the overlap proves is enough, as of an answer that
    reaches as far as the server does. Raises as `enter_table` does.
    """

    def known(stored: StoredSeries) -> Update:
        record = stored.record()
        kept_out = Bars.from_stored(stored.quarantine().drop_columns("found_at"))
        return replace(Update.of_stored(stored.between(None, None), kept_out, record), renames=renames)

    return _enter(store, new, store.look(old, known), asked_from=_BEGINNING if is_whole else None)


def _enter(store: BarStore, series: Series, update: Update, *, asked_from: datetime | None = None) -> Commit:
    sound = update.closed.take(update.closed.is_consistent())

    def judge(stored: StoredSeries) -> Update | NotJoinedError:
        if stored.first_s is None or stored.last_s is None or not len(sound):
            return update
        begins, ends = utc(int(sound.times[0])), utc(int(sound.times[-1]))
        since, scale = joins_from(stored, sound, asked_from), find_scale(stored, sound, update.facts)
        if since is not None:
            reason = f"they would have to reach back to {since:%Y-%m-%d %H:%M}Z"
        elif not len(stored.between(int(sound.times[0]), int(sound.times[-1]) + 1)):
            reason = f"they would have to overlap those from {utc(stored.first_s):%Y-%m-%d %H:%M}Z on"
        elif isinstance(scale, Unproven):
            reason = scale.reason
        else:
            return update
        return NotJoinedError(str(series), begins, ends, reason)

    entered = store.commit(series, update, judge=judge)
    if isinstance(entered, NotJoinedError):
        raise entered
    return entered
