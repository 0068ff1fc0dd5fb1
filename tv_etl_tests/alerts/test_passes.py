"""Which of several askings for a series counts, and what a connection that stands still costs those that share it."""

import asyncio
from typing import Any

import pytest

from tv_etl.alerts.passes import STILL_S, Answers, SeriesKey, ask_bars, is_empty, is_late, is_lost
from tv_etl.tradingview.errors import ConnectionFailedError, NoBarsError, ProtocolError, SymbolError
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory, SymbolInfo
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import NOW, Answer, Line, bars, scripted_server, series_completed, symbol_resolved

A: SeriesKey = ("X:A", "")
LATE = NoBarsError("X:A 1m: no answer in time")
LOST = ConnectionFailedError("the connection was lost")
GONE = SymbolError("X:A", "no such symbol")
REQUEST = HistoryRequest("X:A", "1m", bars_count=1)
FOUND = SeriesHistory(REQUEST, SymbolInfo({}), [[60.0, 1.0, 1.0, 1.0, 1.0, 1.0]], "complete", None, "streaming", 1)
MINUTE = NOW // 60 * 60


def test_an_answer_counts_at_once_and_nothing_in_its_place() -> None:
    for answer in (FOUND, GONE):
        answers = Answers({A: REQUEST})
        answers.begin([A, A])
        answers.end(A, answer)
        assert answers.found == {A: answer}
        answers.end(A, LATE)
        assert answers.found == {A: answer}


@pytest.mark.parametrize("failure", [LATE, LOST])
def test_a_failure_counts_once_nobody_is_asking_any_more(failure: NoBarsError | ConnectionFailedError) -> None:
    answers = Answers({A: REQUEST})
    answers.begin([A])
    answers.begin([A])
    answers.end(A, failure)
    assert answers.found == {}
    answers.end(A, None)
    assert answers.found == {A: failure}


def test_who_was_not_asked_to_the_end_is_not_found() -> None:
    answers = Answers({A: REQUEST})
    answers.begin([A])
    answers.end(A, None)
    assert answers.found == {}


def test_what_an_answer_is() -> None:
    nothing = NoBarsError("X:A 1m: no bars", is_empty_answer=True)
    for each, kinds in {
        LATE: (False, True, False),
        nothing: (True, False, False),
        LOST: (False, False, True),
        ProtocolError("x"): (False, False, True),
        GONE: (False, False, False),
    }.items():
        assert (is_empty(each), is_late(each), is_lost(each)) == kinds
    assert not is_empty(FOUND) and not is_empty(None) and not is_late(None) and not is_lost(None)


def answering(*, stuck: str = "", after_s: float = 0.0) -> Answer:
    """A server each of whose answers takes so many seconds; a connection brings nothing more once one is asked for."""
    specs: dict[str, str] = {}
    still: set[Line] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def say(line: Line, session: str) -> None:
        await asyncio.sleep(after_s)
        row = [MINUTE - 60.0, 10.0, 11.0, 9.0, 10.0, 1.0]
        await line.say(symbol_resolved(session), bars(session, row, close=MINUTE), series_completed(session))

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "resolve_symbol":
            specs[params[0]] = str(params[2])
        elif method == "create_series":
            if stuck and stuck in specs[params[0]]:
                still.add(line)
            if line not in still:
                tasks.add(asyncio.ensure_future(say(line, params[0])))

    return answer


def asked(answer: Answer) -> tuple[Answers, float]:
    """What came of 31 symbols, and how long it took until all but X:BAD were there."""
    names = [f"X:S{number}" for number in range(30)]
    names.insert(15, "X:BAD")
    answers = Answers({(name, ""): HistoryRequest(name, "1m", bars_count=1) for name in names})

    async def main() -> float:
        async with scripted_server(answer) as server:
            began = own_clock.now()
            asking = asyncio.ensure_future(
                ask_bars(lambda limits: OHLCV(server.url, limits=limits), answers, answers.requests, began + 30.0)
            )
            while not asking.done() and len(answers.found.keys() - {("X:BAD", "")}) < 30:
                await asyncio.wait({asking}, timeout=0.05)
            took = own_clock.now() - began
            await asking
        return took

    return answers, own_clock.run(main())


def test_who_shares_a_connection_that_stands_still_is_answered_over_others() -> None:
    answers, took = asked(answering(stuck="X:BAD"))
    assert took < STILL_S + 1.0
    assert is_late(answers.found.pop(("X:BAD", "")))
    assert len(answers.found) == 30 and all(isinstance(each, SeriesHistory) for each in answers.found.values())


def test_a_server_that_is_slow_altogether_is_no_fault_of_a_symbol() -> None:
    """Each connection seems to stand still, and what it was asked for is answered over it all the same."""
    answers, _ = asked(answering(after_s=2 * STILL_S))
    assert len(answers.found) == 31 and all(isinstance(each, SeriesHistory) for each in answers.found.values())
