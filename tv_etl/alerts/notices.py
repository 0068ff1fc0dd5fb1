"""What people are told of troubles: turns that belong together in one alert, and where it goes. Pure.

What happened to many series of a scope at once is one alert, which names the first few and counts the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tv_etl.alerts.events import DEFAULT_SEVERITY, Event, Severity, digest
from tv_etl.alerts.fold import Alert, NoticeKind
from tv_etl.alerts.troubles import TOPICS, Topic, Turn
from tv_etl.tradingview.printable import printable

NAMED = 3  # of many; all are in Dagster
MAX_REASON = 300
_MAX_OF_MANY = 80
_MAX_NAME = 80


class _Words(NamedTuple):
    kind: NoticeKind
    over: NoticeKind
    begins: str
    ends: str


# A run or a sensor "failed" and "succeeds again"; a check says in its scope which it is.
_WORDS: dict[Topic, _Words] = {
    "runs": _Words("run_failed", "run_ok", "failed", "succeeded again"),
    "checks": _Words("check_failed", "check_ok", "failed", "passed again"),
    "losses": _Words("loss", "loss_ok", "about to lose bars", "safe again"),
    "seams": _Words("seam", "seam_ok", "not proven to join", "joined again"),
    "sensors": _Words("sensor_failed", "sensor_ok", "failed", "works again"),
}


class _Target(Protocol):
    @property
    def key(self) -> str: ...

    def wants(self, event: Event) -> bool: ...


@dataclass(frozen=True)
class Routing:
    """Which topics are told, how severe each is, and where: by keys of targets, or to all that want it.

    `ui` is the address of Dagster's web interface, for links.
    """

    severities: Mapping[Topic, Severity] = field(default_factory=lambda: dict.fromkeys(TOPICS, DEFAULT_SEVERITY))
    targets: Sequence[str] = ()
    ui: str = ""

    def link(self, page: str) -> str:
        """Where a page of Dagster is; empty if that is unknown."""
        return f"{self.ui.rstrip('/')}/{page}" if self.ui and page else ""

    def not_to(self, event: Event, targets: Iterable[_Target]) -> tuple[str, ...]:
        """The keys of those that are not told: not named or, where none is, not wanting it."""
        if self.targets:
            return tuple(each.key for each in targets if each.key not in self.targets)
        return tuple(each.key for each in targets if not each.wants(event))


def notices(turns: Iterable[Turn], routing: Routing, now: float) -> list[Alert]:
    """What is to be told, in order; what belongs together is one alert."""
    batches: list[list[Turn]] = []
    latest: dict[tuple[str, str], list[Turn]] = {}
    for turn in turns:
        batch = latest.get(_scope(turn))
        if batch is None or not _belongs(turn, batch):
            batch = latest[_scope(turn)] = []
            batches.append(batch)
        batch.append(turn)
    return [_alert(batch, routing, now) for batch in batches]


def _scope(turn: Turn) -> tuple[str, str]:
    return turn.subject.topic, turn.subject.scope


def _belongs(turn: Turn, batch: Sequence[Turn]) -> bool:
    first = batch[0]
    is_alike = (turn.turning == "ends") == (first.turning == "ends") and bool(turn.subject.name) == bool(
        first.subject.name
    )
    # A scope that was whole in between is another incident.
    is_one = turn.trouble.incident == first.trouble.incident and turn.trouble.group == first.trouble.group
    return is_alike and is_one and all(turn.subject != each.subject for each in batch)


def _alert(batch: Sequence[Turn], routing: Routing, now: float) -> Alert:
    first, last = batch[0], batch[-1]
    words, is_over = _WORDS[first.subject.topic], first.turning == "ends"
    told = [(*each.subject, each.trouble.generation, each.turning, each.trouble.told) for each in batch]
    pages = {each.trouble.page for each in batch}
    symbols = {each.subject.name.partition("|")[2] for each in batch}
    page = pages.pop() if len(pages) == 1 else _common(pages)
    return Alert(
        event_id=digest(("notice", told), size=16),
        rule="",
        symbol=symbols.pop() if len(symbols) == 1 else "",
        kind=words.over if is_over else words.kind,
        level=None,
        price=None,
        touched_at=None,
        detected_at=now,
        reason=_text(batch, words, is_over),
        severity=routing.severities.get(first.subject.topic, DEFAULT_SEVERITY),
        groups=(first.trouble.group,) if first.trouble.group else (),
        status="resolved" if is_over and not last.left else "firing",
        incident=first.trouble.incident,
        link=routing.link(page),
    )


def _common(pages: Iterable[str]) -> str:
    """The page of an asset that those of its partitions have in common."""
    bases = {page.partition("?")[0] for page in pages}
    return bases.pop() if len(bases) == 1 else ""


def _text(batch: Sequence[Turn], words: _Words, is_over: bool) -> str:
    """E.g. `bars: 200 series failed: 1d|NASDAQ:AAPL, 1d|NYSE:JNJ, 1d|NYSE:KO and 197 more: ...`."""
    subject, verb = batch[0].subject, words.ends if is_over else words.begins
    head = printable(subject.scope, _MAX_NAME)
    reasons = dict.fromkeys(_line(each.reason) for each in batch)
    if is_over and all(reasons):  # nobody watches it any more
        verb, reasons = f"is {next(iter(reasons))}" if len(batch) == 1 else f"are {next(iter(reasons))}", {}
    if not subject.name:
        text = f"{head} {verb}"
    elif len(batch) == 1:
        text = f"{head}: {printable(subject.name, _MAX_NAME)} {verb}"
    else:
        unit = "series" if "|" in subject.name else "partitions"
        each_has_its_own = len(reasons) > 1
        names = ", ".join(_name(each, each_has_its_own) for each in batch[:NAMED])
        more = f" and {len(batch) - NAMED:,} more" if len(batch) > NAMED else ""
        text = f"{head}: {len(batch):,} {unit} {verb}: {names}{more}"
    if len(reasons) == 1 and (reason := next(iter(reasons))):
        text += f": {printable(reason, MAX_REASON)}"
    if is_over and batch[-1].left:
        text += f"; {batch[-1].left:,} {'is' if batch[-1].left == 1 else 'are'} not"
    return text


def _name(turn: Turn, with_reason: bool) -> str:
    name = printable(turn.subject.name, _MAX_NAME)
    return f"{name} ({printable(_line(turn.reason), _MAX_OF_MANY)})" if with_reason and turn.reason else name


def _line(text: str) -> str:
    return " ".join(text.split())
