"""One manual fetch: which series, how much of each, and the outcome; the files and the lake it feeds.

Closed bars only, unless a file is to include the forming one; the lake never does. A series that fails is named and
the others continue.
"""

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
from tv_etl.tradingview.moments import parse_moment
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.services import Limits
from tv_etl.tradingview.symbols import SeriesSettings

if TYPE_CHECKING:
    from tv_etl.lake.store import BarStore  # only with a lake; it takes a while to import
    from tv_etl.tradingview.history import HistoryResult

DEFAULT_BARS = 300
# A person waits, and can call again.
LIMITS = Limits(retry_s=5.0)


def parse_time(name: str, text: str | None) -> datetime | None:
    """Read an ISO 8601 time, in UTC unless an offset is given. Raises ValueError, whose message begins with `name`."""
    if text is None:
        return None
    try:
        return parse_moment(text, timezone.utc)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


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
        if self.bars is not None and self.start is not None:
            raise ValueError("give --start or --bars, not both")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"--start {self.start.isoformat()} is not before --end {self.end.isoformat()}")

    def request(self, symbol: str, interval: Interval) -> HistoryRequest:
        """What to ask the server for: one more bar where the newest may be forming. Raises as HistoryRequest does."""
        count = self.bars if self.bars is None or self.with_forming else self.bars + 1
        return HistoryRequest(symbol, interval, self.start, self.end, count, self.settings)

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


@dataclass(frozen=True)
class Outcome:
    """The result for one series: the number of bars, or why there are none in `error`; `note` says what is missing."""

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
        options: FetchOptions,
        *,
        ws_url: str | None = None,
        account: Account | None = None,
    ) -> None:
        self._series = list(dict.fromkeys((symbol, interval) for symbol in symbols for interval in intervals))
        self._options = options
        self._server = {"ws_url": ws_url, "account": account, "limits": LIMITS}

    def __len__(self) -> int:
        return len(self._series)

    def run(self, put: Put | None, lake: "BarStore | None") -> Iterator[Outcome]:
        """Pass bars on as they arrive, and yield the outcome of each series as it finishes. Raises as `put` does."""
        requests: list[HistoryRequest] = []
        for symbol, interval in self._series:
            try:
                request = self._options.request(symbol, interval)
                requests.append(request if lake is None else _reach_into_lake(lake, request))
            except Exception as error:  # whatever it is, it is this series' alone
                yield Outcome(symbol, interval, error=_reason(error))
        deeper: dict[HistoryRequest, Outcome] = {}
        for request, result in self._answers(requests):
            outcome = self._write(request, result, put)
            deeper_request = None
            if lake is not None and not outcome.error:
                outcome, deeper_request = _store(lake, request, result, outcome)
            if deeper_request is None:
                yield outcome
            else:
                deeper[deeper_request] = outcome
        while lake is not None and deeper:
            outcomes, deeper = deeper, {}
            for request, result in self._answers(list(outcomes)):
                outcome, deeper_request = _store(lake, request, result, outcomes[request])
                if deeper_request is None:
                    yield outcome
                else:
                    deeper[deeper_request] = outcome

    def _answers(self, requests: Sequence[HistoryRequest]) -> "Iterator[HistoryResult]":
        """Each request with its answer; one that ends them all unexpectedly is the error of those that are left."""
        left = dict.fromkeys(requests)
        try:
            for request, result in fetch_history(requests, **self._server):
                left.pop(request, None)
                yield request, result
        except (TradingViewError, OSError):
            raise
        except Exception as error:
            for request in left:
                yield request, TradingViewError(_reason(error))

    def _write(self, request: HistoryRequest, result: "pa.Table | TradingViewError", put: Put | None) -> Outcome:
        try:
            answer = _require_table(request, result)
            bars = self._options.select(answer)
            outcome = Outcome(request.symbol, request.width, len(bars), self._shortfall(answer, len(bars)))
        except Exception as error:  # whatever it is, it is this series' alone
            return Outcome(request.symbol, request.width, error=_reason(error))
        try:
            if put is not None:
                put(request, bars)
        except (TradingViewError, OSError):
            raise  # the file is in trouble, not the series
        except Exception as error:
            return replace(outcome, bars=0, error=f"not written: {_reason(error)}")
        return outcome

    def _shortfall(self, answer: pa.Table, bars: int) -> str:
        """What was asked for but is not in the answer, for people."""
        options, reach = self._options, answer.schema.metadata[b"fetch.reach"]
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


def _require_table(request: HistoryRequest, result: "pa.Table | TradingViewError") -> pa.Table:
    """The table of an answer. Raises the error that came in its place, or ProtocolError if some rows were not bars."""
    if isinstance(result, TradingViewError):
        raise result
    rejected = result.schema.metadata[b"fetch.rejected"].decode()
    if rejected != "0":
        raise ProtocolError(f"{request}: {rejected} rows of the answer were not bars")
    return result


def _reach_into_lake(lake: "BarStore", request: HistoryRequest) -> HistoryRequest:
    from tv_etl.collect.join import reaching

    return reaching(lake, request)


def _store(
    lake: "BarStore", request: HistoryRequest, result: "pa.Table | TradingViewError", outcome: Outcome
) -> tuple[Outcome, HistoryRequest | None]:
    """Store an answer, or return the deeper request that has to replace it."""
    from tv_etl.collect.join import deeper

    try:
        answer = _require_table(request, result)
        deeper_request = deeper(lake, request, answer)
        if deeper_request is None:
            lake.upsert(request.symbol, request.interval, answer)
        return outcome, deeper_request
    except Exception as error:  # whatever it is, it is this series' alone
        return replace(outcome, error=f"not stored: {_reason(error)}"), None


def _reason(error: Exception) -> str:
    """An error in a line, with its type where nobody expected it."""
    is_expected = isinstance(error, BarStoreError | TradingViewError)
    return str(error) if is_expected else f"unexpected {type(error).__name__}: {printable(str(error))}"


def _scalar(moment: datetime, bars: pa.Table) -> pa.Scalar:
    return pa.scalar(moment).cast(bars.schema.field("timestamp").type)
