"""One manual fetch: which series, how much of each, and the outcome; the files and the lake it feeds.

Closed bars only, unless a file is to include the forming one; the lake never does. A series that fails is named and
the others continue.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.cli.files import Put
from tv_etl.cli.outcome import Outcome, reason_of
from tv_etl.collect.answer import answers, cut_to_newest, facts_of, require_bars
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.damage import is_enclosed, unenclosed
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.symbols import SeriesSettings

if TYPE_CHECKING:
    from tv_etl.collect.ask import Want  # only with a lake; it takes a while to import
    from tv_etl.lake.store import BarStore
    from tv_etl.lake.upsert import Commit
    from tv_etl.tradingview.history import HistoryResult

# A person waits, and can call again.
LIMITS = Limits(retry_s=5.0)


@dataclass(frozen=True)
class FetchOptions:
    """How much of each series: the newest `bars` before `end`, or those with `start` <= open < `end`.

    Raises ValueError that names the options of the command line.
    """

    bars: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    with_forming: bool = False
    settings: SeriesSettings = field(default_factory=SeriesSettings)

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"--start {self.start.isoformat()} is not before --end {self.end.isoformat()}")

    def request(self, series: Series) -> HistoryRequest:
        """What to ask the server for: one more bar where the newest may be forming. Raises as HistoryRequest does."""
        return HistoryRequest(*series, self.start, self.end, self._count, self.settings)

    def want(self) -> "Want":
        """The same of a series that is stored in a lake."""
        from tv_etl.collect.ask import newest, refetch

        return (
            refetch(self.settings, self.start) if self._count is None else newest(self.settings, self._count, self.end)
        )

    @property
    def _count(self) -> int | None:
        return self.bars if self.bars is None or self.with_forming else self.bars + 1

    def select(self, bars: pa.Table) -> pa.Table:
        """The bars of an answer that were asked for."""
        forming_from = (bars.schema.metadata or {}).get(b"tv_etl.forming_from")
        if forming_from and not self.with_forming:
            edge = pa.scalar(int(forming_from) * 1_000_000).cast(bars.schema.field("timestamp").type)
            bars = bars.filter(pc.less(bars["timestamp"], edge))
        # A request that feeds a lake reaches further back than these options do.
        if self.start is not None:
            bars = bars.filter(pc.greater_equal(bars["timestamp"], _scalar(self.start, bars)))
        if self.end is not None:
            bars = bars.filter(pc.less(bars["timestamp"], _scalar(self.end, bars)))
        return bars if self.bars is None else bars.slice(max(0, len(bars) - self.bars))


class SeriesFetch:
    """Every symbol at every interval, each once, fetched over one connection."""

    def __init__(
        self,
        symbols: Sequence[str],
        intervals: Sequence[Interval],
        options: FetchOptions,
        *,
        ws_url: str | None = None,
        account: Account | None = None,
        proxy: str | None = None,
    ) -> None:
        self.series = list(dict.fromkeys(Series(symbol, interval) for symbol in symbols for interval in intervals))
        self.options = options
        self._told_hours = set[tuple[str, str]]()
        self._server = {"ws_url": ws_url, "account": account, "limits": LIMITS, "proxy": proxy}

    def __len__(self) -> int:
        return len(self.series)

    def run(self, put: Put | None, lake: "BarStore | None") -> Iterator[Outcome]:
        """Pass bars on as they arrive, and yield the outcome of each series as it finishes. Raises as `put` does."""
        return self._to_files(put) if lake is None else self._to_lake(lake, put)

    def _to_files(self, put: Put | None) -> Iterator[Outcome]:
        requests: list[HistoryRequest] = []
        for series in self.series:
            try:
                requests.append(self.options.request(series))
            except Exception as error:  # whatever it is, it is this series' alone
                yield Outcome(series, error=reason_of(error))
        for request, result in answers(requests, self.fetch):
            yield self._written(request.series, result, put)

    def _to_lake(self, lake: "BarStore", put: Put | None) -> Iterator[Outcome]:
        from tv_etl.collect.ask import Ask
        from tv_etl.collect.collection import Failed, Stored, carry_out, plan

        asks: list[Ask] = []
        for planned in plan(lake, ((series, self.options.want()) for series in self.series), time.time()):
            if isinstance(planned, Ask):
                asks.append(planned)
            elif isinstance(planned, Failed):
                yield Outcome(planned.series, error=reason_of(planned.error))
        new = {each.request for each in asks if each.seen.last is None}
        bars = self.options.bars
        for outcome in carry_out(lake, asks, cut_to_newest(self.fetch, new, bars) if bars else self.fetch):
            if isinstance(outcome, Stored):
                yield self._with_notes(self._written(outcome.series, outcome.answer, put), outcome.commit)
            elif isinstance(outcome, Failed) and outcome.answer is None:
                yield Outcome(outcome.series, error=reason_of(outcome.error))
            elif isinstance(outcome, Failed):
                written = self._written(outcome.series, outcome.answer, put)
                yield replace(written, error=written.error or f"not stored: {reason_of(outcome.error)}")

    def _with_notes(self, outcome: Outcome, commit: "Commit") -> Outcome:
        """The outcome with what a lake's owner has to know of a commit."""
        notes = [outcome.note] if outcome.note else []
        if commit.adopted:
            notes.append(f"older bars in the lake name no market: taken to be of this one, {commit.adopted!r}")
        if commit.record.renamed_to:
            old, new = outcome.series.symbol, commit.record.renamed_to
            notes.append(f"it is named {new} now: tv-etl rename {old} {new}")
        if commit.record.open_seam is not None:
            seam = commit.record.open_seam
            notes.append(f"not proven to join the older bars at {seam}: see tv-etl seam")
        # Of a symbol at many intervals the same.
        told = (outcome.series.symbol, commit.record.hours_problem)
        if commit.record.hours_problem and told not in self._told_hours:
            self._told_hours.add(told)
            notes.append(f"gaps are not known, since trading hours cannot be read: {printable(told[1], 1_000)}")
        return replace(outcome, note="; ".join(notes))

    def fetch(self, requests: "Iterable[HistoryRequest]") -> "Iterator[HistoryResult]":
        """Ask the server, over one connection."""
        return fetch_history(requests, **self._server)

    def _written(self, series: Series, result: pa.Table | Exception, put: Put | None) -> Outcome:
        try:
            answer = _require_table(series, result)
            bars = self.options.select(answer)
            notes = (self._shortfall(answer, len(bars)), *_remarks(answer, bars))
            outcome = Outcome(series, len(bars), "; ".join(note for note in notes if note))
        except Exception as error:  # whatever it is, it is this series' alone
            return Outcome(series, error=reason_of(error))
        try:
            if put is not None:
                put(series, bars)
        except (TradingViewError, OSError):
            raise  # the file is in trouble, not the series
        except Exception as error:
            return replace(outcome, bars=0, error=f"not written: {reason_of(error)}")
        return outcome

    def _shortfall(self, answer: pa.Table, bars: int) -> str:
        """What was asked for but is not in the answer, for people."""
        options, reach = self.options, answer.schema.metadata[b"fetch.reach"]
        if options.bars is not None and bars < options.bars:
            why = "has no more for this account" if reach == b"limited" else "has no more"
            return f"{bars:,} of {options.bars:,} bars: the server {why}"
        if options.start is not None and reach == b"limited":
            first = answer["timestamp"][0].as_py() if len(answer) else None
            if first is None:
                return "the server has no bars for this account"
            if first > options.start:  # a request that feeds a lake reaches further back
                return f"the server's bars for this account begin at {first:%Y-%m-%d %H:%M} UTC"
        return "" if bars else "the server has no bars in the requested range"


def _require_table(series: Series, result: pa.Table | Exception) -> pa.Table:
    """The table of an answer. Raises the error that came in its place, or DamagedAnswerError."""
    if isinstance(result, Exception):
        raise result
    require_bars(series, result)
    return result


def _remarks(answer: pa.Table, bars: pa.Table) -> tuple[str, str]:
    """What whoever uses the bars of an answer has to know of them."""
    later = int(facts_of(answer).get("fetch.ahead", "0"))
    times = bars["timestamp"].cast("int64").to_numpy() / 1_000_000
    enclosed = is_enclosed(*(bars[name].to_numpy() for name in ("open", "high", "low", "close")))
    return f"{later:,} bars of the future are left out" if later else "", unenclosed(times, enclosed)


def _scalar(moment: datetime, bars: pa.Table) -> pa.Scalar:
    return pa.scalar(moment).cast(bars.schema.field("timestamp").type)
