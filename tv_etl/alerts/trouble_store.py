"""The open troubles in the store, written in one transaction with what is told of them and how far was read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tv_etl.alerts.database import META, TROUBLE
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.stored_events import StoredEvents
from tv_etl.alerts.troubles import TOPICS, Folded, Subject, Trouble

_MARK = "notify:"
_LAST = "last"


@dataclass(frozen=True)
class KnownTroubles:
    """What the last tick left: the open troubles, the number of the last one, and how far each source was read."""

    open: Mapping[Subject, Trouble] = field(default_factory=dict)
    last: int = 0
    marks: Mapping[str, str] = field(default_factory=dict)


class TroubleStore(StoredEvents):
    """The troubles of a database."""

    def load_troubles(self) -> KnownTroubles:
        """All that the last tick left; what a newer version may have written of other topics is left alone."""
        with self._transaction() as db:
            rows = db.execute(sa.select(TROUBLE).where(TROUBLE.c.topic.in_(TOPICS)))
            found = {Subject(row.topic, row.scope, row.name): _read(row) for row in rows}
            marks = {
                row.name.removeprefix(_MARK): row.value
                for row in db.execute(sa.select(META).where(META.c.name.startswith(_MARK, autoescape=True)))
            }
        return KnownTroubles(found, int(marks.pop(_LAST, 0)), marks)

    def commit_troubles(
        self,
        before: KnownTroubles,
        folded: Folded,
        marks: Mapping[str, str],
        alerts: Iterable[Alert],
        targets: Sequence[str],
    ) -> None:
        """Write a tick, whole: what is open now, how far was read, and what is to be told to which targets."""
        changed = {subject: each for subject, each in folded.open.items() if before.open.get(subject) != each}
        gone = [subject for subject in before.open if subject in changed or subject not in folded.open]
        new_marks = {**marks, _LAST: str(folded.last)}
        old_marks = {**before.marks, _LAST: str(before.last)}
        moved = {f"{_MARK}{name}": value for name, value in new_marks.items() if old_marks.get(name) != value}
        with self._transaction() as db:
            if gone:
                is_it = sa.and_(*(TROUBLE.c[name] == sa.bindparam(f"old_{name}") for name in Subject._fields))
                keys = [{f"old_{name}": value for name, value in each._asdict().items()} for each in gone]
                db.execute(TROUBLE.delete().where(is_it), keys)
            if changed:
                db.execute(TROUBLE.insert(), [_row(subject, each) for subject, each in changed.items()])
            for name, value in moved.items():
                db.execute(META.delete().where(META.c.name == name))
                db.execute(META.insert().values(name=name, value=value))
            # No tick of the rules has found them, and they start no runs.
            self._add(db, alerts, targets, 0)


def _row(subject: Subject, trouble: Trouble) -> dict[str, Any]:
    return {
        **subject._asdict(),
        "generation": trouble.generation,
        "incident": trouble.incident,
        "at": trouble.at,
        "reason": trouble.reason,
        "told": json.dumps(trouble.told),
        "page": trouble.page,
        "watched_by": trouble.group,
    }


def _read(row: Any) -> Trouble:
    told = tuple(json.loads(row.told))
    return Trouble(row.generation, row.incident, row.at, row.reason, told, row.page, row.watched_by)
