"""Answers of the server, each an Arrow table or the reason why there is none, and what a table says of itself."""

from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa

from tv_etl.tradingview.errors import DamagedAnswerError, UnvouchedAnswerError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series

# How many rows were not bars.
_REJECTED = "fetch.rejected"

Fetch = Callable[[Iterable[HistoryRequest]], Iterator[HistoryResult]]


def answers(requests: Iterable[HistoryRequest], fetch: Fetch) -> Iterator[tuple[HistoryRequest, pa.Table | Exception]]:
    """Each request with its answer; what ends the answers is the failure of those that are left."""
    left = dict.fromkeys(requests)
    try:
        for request, result in fetch(list(left)):
            left.pop(request, None)
            yield request, result
    except Exception as error:
        for request in left:
            yield request, error


def facts_of(answer: pa.Table) -> dict[str, str]:
    """The facts that `fetch_history` states of a series (`tv_etl.`) and of one answer (`fetch.`)."""
    return {name.decode(): text.decode() for name, text in (answer.schema.metadata or {}).items()}


def require_bars(series: Series, answer: pa.Table) -> None:
    """Raise DamagedAnswerError if rows of an answer were not bars: nobody knows what is missing in it.

    Raises UnvouchedAnswerError if it does not say.
    """
    facts, symbol, interval = facts_of(answer), series.symbol, str(series.interval)
    if _REJECTED not in facts:
        raise UnvouchedAnswerError(symbol, interval, _REJECTED)
    if facts[_REJECTED] != "0":
        raise DamagedAnswerError(symbol, interval, int(facts[_REJECTED]), facts.get("fetch.rejected_where", ""))


def newest_closed(answer: pa.Table, count: int) -> pa.Table:
    """The answer without what is older than its newest so many closed bars; its facts are of what is left."""
    times = answer["timestamp"].cast("int64").to_numpy() // 1_000_000
    facts = facts_of(answer)
    closed = (
        int(np.searchsorted(times, int(facts["tv_etl.forming_from"]))) if facts["tv_etl.forming_from"] else len(times)
    )
    if closed <= count:
        return answer
    if "tv_etl.asked_from" in facts:
        facts["tv_etl.asked_from"] = str(times[closed - count])
    return answer.slice(closed - count).replace_schema_metadata(facts)


def cut_to_newest(fetch: Fetch, new: Collection[HistoryRequest], count: int) -> Fetch:
    """The same, but of answers to the `new` requests only so many closed bars.

    One more is asked for, in case the newest is forming.
    """

    def cut(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        for request, result in fetch(requests):
            yield request, newest_closed(result, count) if request in new and isinstance(result, pa.Table) else result

    return cut
