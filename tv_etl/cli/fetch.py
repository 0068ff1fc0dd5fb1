"""One fetch by hand: which series, how much of each, and what became of them; the files and the lake it feeds.

Closed bars only, unless the forming one is wanted for a file; the lake never takes one. A series that fails is named
and the others go on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tv_etl.cli.files import Put
from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.errors import ProtocolError, TradingViewError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.symbols import SeriesSettings

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore  # only with a lake; it takes a while to import

DEFAULT_BARS = 300
# A person waits, and can call again.
LIMITS = Limits(retry_s=5.0)


def parse_time(name: str, text: str | None) -> datetime | None:
    """Read ISO 8601, in UTC unless it says otherwise. Raises ValueError naming what was being read."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        raise ValueError(f"{name} {text!r} is no time; write e.g. 2026-11-02 or 2026-11-02T14:30:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Wanted:
    """How much of each series: the newest `bars` before `end`, or those with `start` <= open < `end`.

    Raises ValueError, in the words of the command line.
    """

    bars: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    with_forming: bool = False
    settings: SeriesSettings = field(default_factory=SeriesSettings)

    def __post_init__(self) -> None:
        if self.bars is not None and self.start is not None:
            raise ValueError("give --start or --bars, not both")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"--start {self.start.isoformat()} is not before --end {self.end.isoformat()}")

    def request(self, symbol: str, interval: Interval) -> HistoryRequest:
        """What to ask the server for: a bar more where the newest one may be forming. Raises as HistoryRequest."""
        count = self.bars if self.bars is None or self.with_forming else self.bars + 1
        return HistoryRequest(symbol, interval, self.start, self.end, count, self.settings)

    def select(self, bars: pa.Table) -> pa.Table:
        """What of an answer is wanted."""
        forming_from = (bars.schema.metadata or {}).get(b"tv_etl.forming_from")
        if forming_from and not self.with_forming:
            edge = pa.scalar(int(forming_from) * 1_000_000).cast(bars.schema.field("timestamp").type)
            bars = bars.filter(pc.less(bars["timestamp"], edge))
        # A request that feeds a lake reaches further than what is wanted of it.
        if self.start is not None:
            bars = bars.filter(pc.greater_equal(bars["timestamp"], _scalar(self.start, bars)))
        if self.end is not None:
            bars = bars.filter(pc.less(bars["timestamp"], _scalar(self.end, bars)))
        return bars if self.bars is None else bars.slice(max(0, len(bars) - self.bars))


@dataclass(frozen=True)
class Outcome:
    """What became of one series: so many bars, or the reason why there are none; `note` says what is missing."""

    symbol: str
    interval: Interval
    bars: int = 0
    note: str = ""
    error: str = ""


class SeriesFetch:
    """Every symbol at every interval, each once, fetched over one connection."""

    def __init__(
        self,
        symbols: Sequence[str],
        intervals: Sequence[Interval],
        wanted: Wanted,
        *,
        ws_url: str | None = None,
        account: Account | None = None,
    ) -> None:
        self._series = list(dict.fromkeys((symbol, interval) for symbol in symbols for interval in intervals))
        self._wanted = wanted
        self._server = {"ws_url": ws_url, "account": account, "limits": LIMITS}

    def __len__(self) -> int:
        return len(self._series)

    def run(self, put: Put | None, lake: "BarStore | None") -> Iterator[Outcome]:
        """Hand on what comes, and yield what became of each series as it finishes. Raises what `put` does."""
        requests: list[HistoryRequest] = []
        for symbol, interval in self._series:
            try:
                request = self._wanted.request(symbol, interval)
                requests.append(request if lake is None else _reaching(lake, request))
            except (BarStoreError, TradingViewError) as error:
                yield Outcome(symbol, interval, error=str(error))
        deeper: dict[HistoryRequest, Outcome] = {}
        for request, result in fetch_history(requests, **self._server):
            outcome = self._taken(request, result, put)
            further = None
            if lake is not None and not outcome.error:
                outcome, further = _store(lake, request, result, outcome)
            if further is None:
                yield outcome
            else:
                deeper[further] = outcome
        while lake is not None and deeper:
            outcomes, deeper = deeper, {}
            for request, result in fetch_history(outcomes, **self._server):
                outcome, further = _store(lake, request, result, outcomes[request])
                if further is None:
                    yield outcome
                else:
                    deeper[further] = outcome

    def _taken(self, request: HistoryRequest, result: "pa.Table | TradingViewError", put: Put | None) -> Outcome:
        try:
            answer = _whole(request, result)
        except TradingViewError as error:
            return Outcome(request.symbol, request.width, error=str(error))
        bars = self._wanted.select(answer)
        if put is not None:
            put(request, bars)
        return Outcome(request.symbol, request.width, len(bars), self._shortfall(answer, len(bars)))

    def _shortfall(self, answer: pa.Table, bars: int) -> str:
        """What was asked for and is not in the answer, for people."""
        wanted, reach = self._wanted, answer.schema.metadata[b"fetch.reach"]
        if wanted.bars is not None and bars < wanted.bars:
            why = "has no more for this account" if reach == b"limited" else "has no more"
            return f"{bars:,} of {wanted.bars:,} bars: the server {why}"
        if wanted.start is not None and reach == b"limited":
            first = answer["timestamp"][0].as_py() if len(answer) else None
            since = "nothing" if first is None else f"only bars from {first:%Y-%m-%d %H:%M} UTC on"
            return f"the server has {since} for this account"
        return "" if bars else "the server has no bars in what was asked"


def _whole(request: HistoryRequest, result: "pa.Table | TradingViewError") -> pa.Table:
    """The table of an answer. Raises the error that stands in its place, or ProtocolError if rows were no bars."""
    if isinstance(result, TradingViewError):
        raise result
    rejected = result.schema.metadata[b"fetch.rejected"].decode()
    if rejected != "0":
        raise ProtocolError(f"{request}: {rejected} rows of the answer were no bars")
    return result


def _reaching(lake: "BarStore", request: HistoryRequest) -> HistoryRequest:
    from tv_etl.collect.join import reaching

    return reaching(lake, request)


def _store(
    lake: "BarStore", request: HistoryRequest, result: "pa.Table | TradingViewError", outcome: Outcome
) -> tuple[Outcome, HistoryRequest | None]:
    """Store an answer, or say what to ask for in its place."""
    from tv_etl.collect.join import deeper

    try:
        answer = _whole(request, result)
        further = deeper(lake, request, answer)
        if further is None:
            lake.upsert(request.symbol, request.interval, answer)
        return outcome, further
    except (BarStoreError, TradingViewError) as error:
        return replace(outcome, error=f"not stored: {error}"), None


def _scalar(moment: datetime, bars: pa.Table) -> pa.Scalar:
    return pa.scalar(moment).cast(bars.schema.field("timestamp").type)
