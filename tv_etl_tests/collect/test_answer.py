"""An answer, or the reason why there is none, comes of each request."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pytest

from tv_etl.collect.answer import answers, facts_of, require_bars
from tv_etl.tradingview.errors import ProtocolError, UnvouchedAnswerError
from tv_etl.tradingview.history import HistoryResult
from tv_etl.tradingview.models import HistoryRequest
from tv_etl_tests.collect.served_market import PLAIN, SERIES, table

REQUESTS = [HistoryRequest(symbol, "1m") for symbol in ("X:A", "X:B", "X:C")]


def test_what_ends_the_answers_is_the_failure_of_those_that_are_left() -> None:
    def fetch(requests: Iterable[HistoryRequest]) -> Iterator[HistoryResult]:
        _, second, _ = requests
        yield second, table(PLAIN[:3])
        raise OSError("no such server")

    found = {request.symbol: result for request, result in answers(REQUESTS, fetch)}
    assert {name for name, result in found.items() if isinstance(result, pa.Table)} == {"X:B"}
    assert [str(found[name]) for name in ("X:A", "X:C")] == ["no such server"] * 2


def test_an_answer_with_rows_that_were_no_bars_is_none() -> None:
    answer = table(PLAIN[:3], currency="USD")
    require_bars(SERIES, answer)
    assert facts_of(answer) == {
        "tv_etl.forming_from": "", "tv_etl.currency": "USD", "fetch.rejected": "0", "fetch.reach": "complete",
    }  # fmt: skip
    with pytest.raises(ProtocolError, match=r"^NASDAQ:SPLT 1m: 2 rows of the answer were not bars"):
        require_bars(SERIES, answer.replace_schema_metadata({"fetch.rejected": "2"}))
    with pytest.raises(UnvouchedAnswerError, match=r"^NASDAQ:SPLT 1m: the table does not say whether it is a whole "):
        require_bars(SERIES, answer.replace_schema_metadata(None))
