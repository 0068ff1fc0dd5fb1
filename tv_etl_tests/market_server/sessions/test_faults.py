import asyncio
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import plain_listing
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import MarketServer
from tv_etl.market_server.sessions.faults import FAULTS, REVISED_CLOSE, SLOW_S
from tv_etl.market_server.sessions.send_queue import Hangup
from tv_etl.tradingview.errors import (
    ConnectionFailedError,
    FrameError,
    NoBarsError,
    ProtocolError,
    SeriesError,
    StaleStreamError,
    SymbolError,
    TradingViewError,
)
from tv_etl.tradingview.frames import PacketDecoder
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest, QuoteSymbolData, SeriesHistory
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl_tests import own_clock
from tv_etl_tests.market_server.talk import FRIDAY_NOON, Talk, bars, indexes, methods, only


def test_a_silent_series_is_never_answered_while_heartbeats_go_on() -> None:
    talk = Talk(heartbeat_s=10.0)
    assert methods(talk.open_chart("FAULT:SILENT")) == ["symbol_resolved"]
    assert talk.wait(10.0) == []
    assert talk.payloads[-1] == "~h~1"


def test_a_dropped_connection_ends_without_a_word_before_completion() -> None:
    talk = Talk()
    assert methods(talk.open_chart("FAULT:DROP", "1", 50))[-1] == "timescale_update"
    assert talk.hangups == [Hangup(is_abrupt=True)]


def test_a_split_frame_lies_in_two_messages() -> None:
    talk = Talk()
    messages = talk.open_chart("FAULT:SPLIT_FRAME", "1", 50)
    assert len(bars(only(messages, "timescale_update"))) == 50
    first, second = talk.texts[-2:]
    cut = PacketDecoder()
    cut.feed(first)
    assert cut.has_pending and len(first) > 0 and not second.startswith("~m~")


def test_a_bad_frame_is_no_packet() -> None:
    talk = Talk()
    talk.open_chart("FAULT:BAD_FRAME")
    text = talk.texts[-1]
    decoder = PacketDecoder()
    decoder.feed(text)
    assert decoder.has_pending
    with pytest.raises(FrameError):
        decoder.feed("~m~4~m~~h~1" * 3)


def test_a_series_error_has_its_reason() -> None:
    messages = Talk().open_chart("FAULT:SERIES_ERROR")
    assert methods(messages) == ["series_loading", "symbol_resolved", "series_error"]
    assert only(messages, "series_error")["p"][3] == FAULTS["FAULT:SERIES_ERROR"].reason


def test_a_slow_series_takes_its_time_and_others_do_not_wait() -> None:
    talk = Talk()
    assert "series_completed" not in methods(talk.open_chart("FAULT:SLOW"))
    assert "series_completed" in methods(talk.open_chart("NASDAQ:AAPL", session="cs_2"))
    assert "series_completed" in methods(talk.wait(SLOW_S))


def test_an_empty_series_completes_without_bars() -> None:
    talk = Talk()
    messages = talk.open_chart("FAULT:EMPTY")
    assert methods(messages) == ["series_loading", "symbol_resolved", "series_completed"]
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", 5))) == ["series_loading", "series_completed"]
    assert talk.wait(1.0, market_seconds=60) == []


@pytest.mark.parametrize("symbol", FAULTS)
def test_every_fault_resolves_and_has_a_quote_or_none(symbol: str) -> None:
    talk = Talk()
    talk.say(("chart_create_session", "cs_1"), ("quote_create_session", "qs_1"))
    messages = talk.say(("resolve_symbol", "cs_1", "sym_1", symbol), ("quote_add_symbols", "qs_1", symbol))
    assert only(messages, "symbol_resolved")["p"][2]["pro_name"] == symbol
    assert methods(messages).count("quote_completed") == (FAULTS[symbol].quotes != [])
    assert FAULTS[symbol].effect and len(FAULTS[symbol].effect) < 90


def test_what_comes_late_spares_the_first_page() -> None:
    talk = Talk()
    assert methods(talk.open_chart("FAULT:SILENT_LATER", "1", 50))[-1] == "series_completed"
    assert talk.say(("request_more_data", "cs_1", "sds_1", 5)) == []
    talk = Talk()
    assert methods(talk.open_chart("FAULT:DROP_LATER", "1", 50))[-1] == "series_completed"
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", 5))) == ["series_loading", "timescale_update"]
    assert talk.hangups == [Hangup(is_abrupt=True)]


def test_a_revised_bar_comes_in_an_update_before_the_end() -> None:
    messages = Talk().open_chart("FAULT:REVISED", "1", 50)
    assert methods(messages)[-3:] == ["timescale_update", "du", "series_completed"]
    (before,), (after,) = bars(messages[-3])[-2:-1], bars(messages[-2])
    assert after[0] == before[0] and after[4] == pytest.approx(before[4] * REVISED_CLOSE)
    assert indexes(messages[-2]) == [48]


def test_a_mute_connection_beats_no_more() -> None:
    talk = Talk(heartbeat_s=1.0)
    talk.open_chart("FAULT:MUTE")
    assert talk.wait(10.0) == [] and talk.payloads[-1].startswith('{"m":"symbol_resolved"')


@pytest.mark.parametrize("symbol", FAULTS)
def test_no_fault_completes_a_study_before_its_series(symbol: str) -> None:
    talk = Talk()
    with suppress(FrameError, ValueError):  # some have packets that are none
        talk.open_chart(symbol, "1", 20)
    with suppress(FrameError, ValueError):
        talk.say(("create_study", "cs_1", "st_1", "st1", "sds_1", "Volume@tv-basicstudies-246", {}))
        talk.wait(SLOW_S)
    text = "".join(talk.texts)
    if '"study_completed"' in text:
        assert 0 < text.find('"series_completed"') < text.find('"study_completed"')


def test_a_harmless_fault_completes_its_studies() -> None:
    talk = Talk()
    talk.open_chart("FAULT:UNKNOWN_MESSAGES", "1", 20)
    messages = talk.say(("create_study", "cs_1", "st_1", "st1", "sds_1", "Volume@tv-basicstudies-246", {}))
    assert methods(messages) == ["study_loading", "du", "study_completed"]


def test_after_a_silence_no_bar_changes() -> None:
    talk = Talk()
    talk.open_chart("FAULT:LIVE_SILENT", "1", 20)
    assert talk.wait(1.0, market_seconds=90) == []
    talk = Talk()
    talk.open_chart("FAULT:UNKNOWN_MESSAGES", "1", 20)
    assert talk.wait(1.0, market_seconds=90) != []


# --- our client -----------------------------------------------------------------------------------------------

LIMITS = Limits(open_s=3.0, alive_s=1.5, silence_s=5.0, progress_s=2.5, retry_s=0.5, reconnect_s=1.0)
END = datetime.fromtimestamp(FRIDAY_NOON, timezone.utc)
ERRORS: dict[str, tuple[type[TradingViewError], str]] = {
    "SILENT": (NoBarsError, "no complete answer"),
    "MUTE": (NoBarsError, "no complete answer"),
    "SLOW": (NoBarsError, "no complete answer"),
    "HALF_OPEN": (ConnectionFailedError, "no sign of life"),
    "DRIP": (ConnectionFailedError, "no sign of life"),
    "DROP": (ConnectionFailedError, "the connection was lost"),
    "RESET": (ConnectionFailedError, "the connection was lost"),
    "CLOSE": (ConnectionFailedError, "code 1000"),
    "CLOSE_1013": (ConnectionFailedError, "code 1013"),
    "BAD_FRAME": (FrameError, "expected"),
    "BAD_HEADER": (FrameError, "not a number"),
    "GIANT_FRAME": (FrameError, "more than 8 digits"),
    "BAD_JSON": (ProtocolError, "malformed"),
    "DEEP_JSON": (ProtocolError, "too deeply"),
    "NAN_BARS": (ProtocolError, "malformed"),
    "SERIES_ERROR": (SeriesError, "internal error"),
    "CRITICAL_ERROR": (SeriesError, "internal error"),
    "PROTOCOL_ERROR": (ConnectionFailedError, "wrong data"),
    "EMPTY": (NoBarsError, "without a bar"),
}
WAITING = {"SILENT", "SILENT_LATER", "MUTE", "SLOW", "HALF_OPEN", "DRIP"}  # these are tried at once
HARMLESS = {
    "BINARY", "LIVE_DROP", "LIVE_SILENT",
    "SPLIT_FRAME", "HEARTBEATS", "DELIMITERS", "UNKNOWN_MESSAGES", "OTHER_SESSION", "COMPLETED_TWICE", "UNORDERED",
    "DUPLICATES", "OUTSIDE", "DROP_LATER",
}  # fmt: skip
WITHOUT_EVERY_THIRD = {"NULL_BARS", "STRING_BARS", "SHORT_BARS"}
LIMITED = {"SILENT_LATER"}
OTHER_VALUES = {"REVISED", "INVERTED"}
QUOTED = {"QUOTE_ERROR", "QUOTE_DENIED", "QUOTE_SILENT", "QUOTE_PARTIAL"}


def fault_server() -> MarketServer:
    # Whoever may see 20,000 bars needs several pages for 6,000.
    clock = MarketClock(FRIDAY_NOON, speed=0)
    return MarketServer(Market(7), ServerOptions(clock=clock, update_ms=100, heartbeat_s=0.3, plan="premium"))


def request_of(name: str) -> HistoryRequest:
    if name.endswith("_LATER"):
        return HistoryRequest(f"FAULT:{name}", "1m", bars_count=6_000)
    return HistoryRequest(f"FAULT:{name}", "1m", start=END - timedelta(minutes=59), end=END + timedelta(minutes=1))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, SeriesHistory | BaseException]:
    """What our client makes of every fault, each over a connection of its own."""

    async def fetch(name: str, url: str) -> SeriesHistory:
        async with ConnectionService(url, limits=LIMITS) as connection:
            return await MessageService(connection).fetch_with_recovery(request_of(name), timeout_s=10)

    async def fetch_all(names: list[str]) -> dict[str, SeriesHistory | BaseException]:
        found: dict[str, SeriesHistory | BaseException] = {}
        together = [name for name in names if name in WAITING]
        async with fault_server() as server:
            for group in (together, *([name] for name in names if name not in WAITING)):
                results = await asyncio.gather(*(fetch(name, server.url) for name in group), return_exceptions=True)
                found |= zip(group, results, strict=True)
        return found

    return own_clock.run(fetch_all([*ERRORS, *HARMLESS, *WITHOUT_EVERY_THIRD, *OTHER_VALUES, *LIMITED]))


def served(outcomes: dict[str, SeriesHistory | BaseException], name: str) -> SeriesHistory:
    history = outcomes[name]
    assert isinstance(history, SeriesHistory), history
    return history


def right_rows(name: str, count: int) -> list[list[float]]:
    source = Market(7).source_of(plain_listing(f"FAULT:{name}"))
    rows: list[list[float]] = source.bars(Interval.parse("1m"), FRIDAY_NOON, count=count).rows.tolist()
    return rows


def test_every_fault_is_tried() -> None:
    tried = [*ERRORS, *HARMLESS, *WITHOUT_EVERY_THIRD, *OTHER_VALUES, *LIMITED, *QUOTED]
    assert sorted(f"FAULT:{name}" for name in tried) == sorted(FAULTS)


@pytest.mark.parametrize("name", ERRORS)
def test_our_client_has_the_right_error_in_time(name: str, outcomes: dict[str, SeriesHistory | BaseException]) -> None:
    kind, words = ERRORS[name]
    error = outcomes[name]
    assert type(error) is kind and words in str(error)


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_our_client_gets_the_right_bars_all_the_same(
    name: str, outcomes: dict[str, SeriesHistory | BaseException]
) -> None:
    history = served(outcomes, name)
    assert history.rows == right_rows(name, 6_000 if name.endswith("_LATER") else 60)
    assert history.rejected == 0


@pytest.mark.parametrize("name", sorted(WITHOUT_EVERY_THIRD))
def test_our_client_drops_what_is_no_bar_and_counts_it(
    name: str, outcomes: dict[str, SeriesHistory | BaseException]
) -> None:
    history = served(outcomes, name)
    right = right_rows(name, 60)
    assert all(row in right for row in history.rows)
    assert 0 < len(history.rows) < 60 and history.rejected >= 60 - len(history.rows)


def test_our_client_takes_the_last_version_and_the_wires_values(
    outcomes: dict[str, SeriesHistory | BaseException],
) -> None:
    revised, right = served(outcomes, "REVISED").rows, right_rows("REVISED", 60)
    assert revised[:-2] == right[:-2] and revised[-1] == right[-1]
    assert revised[-2][4] == pytest.approx(right[-2][4] * REVISED_CLOSE)
    inverted = served(outcomes, "INVERTED").rows
    assert len(inverted) == 60 and sum(high < low for _, _, high, low, *_ in inverted) == 20


def test_our_client_says_that_the_first_page_is_not_all(outcomes: dict[str, SeriesHistory | BaseException]) -> None:
    history = served(outcomes, "SILENT_LATER")
    assert (len(history.rows), history.reach) == (5_000, "limited")
    assert history.rows == right_rows("SILENT_LATER", 5_000)


def test_our_client_says_of_each_quote_what_is_wrong_with_it() -> None:
    names = [f"FAULT:{name}" for name in sorted(QUOTED - {"QUOTE_SILENT"})]

    async def quotes(*symbols: str) -> dict[str, QuoteSymbolData | SymbolError]:
        async with fault_server() as server, OHLCV(server.url, limits=LIMITS, timeout_s=1.0) as client:
            return await client.get_quotes(list(symbols))

    found = own_clock.run(quotes(*names, "NASDAQ:AAPL"))
    denied, error, partial, good = (found[name] for name in [*names, "NASDAQ:AAPL"])
    assert isinstance(denied, SymbolError) and "Permission denied" in str(denied)
    assert isinstance(error, SymbolError) and "internal_error" in str(error)
    assert isinstance(partial, QuoteSymbolData)
    assert (partial.current_price, partial.change, partial.volume) == (None, -0.5, 1_000.0)
    assert isinstance(good, QuoteSymbolData) and good.current_price
    with pytest.raises(NoBarsError):
        own_clock.run(quotes("FAULT:QUOTE_SILENT"))


def test_our_clients_stream_tells_a_series_that_is_silent_while_its_market_trades() -> None:
    """The market's clock is known from the other series on the connection; it goes on as ever."""

    async def stream() -> None:
        async with (
            MarketServer(Market(7), ServerOptions(clock=MarketClock(FRIDAY_NOON, speed=600), update_ms=20)) as server,
            OHLCV(server.url, limits=Limits(progress_s=0.2)) as client,
        ):
            other = client.get_ohlcv("BINANCE:BTCUSDT", "1", bars_count=1)
            first = await anext(other)

            async def listen() -> None:
                async for _ in client.get_ohlcv("FAULT:LIVE_SILENT", "1", bars_count=10):
                    pass

            silent = asyncio.ensure_future(listen())
            last = first
            while not silent.done():
                last = await anext(other)
            with pytest.raises(StaleStreamError, match="FAULT:LIVE_SILENT 1m: nothing came for"):
                await silent
            assert last.timestamp - first.timestamp >= 2 * 300 - 60
            await other.aclose()

    own_clock.run(stream())


def test_our_clients_stream_outlives_cut_after_cut() -> None:
    async def stream() -> list[int]:
        opens: list[int] = []
        # A minute in half a second: each connection sees one of them begin.
        async with (
            MarketServer(Market(7), ServerOptions(clock=MarketClock(FRIDAY_NOON, speed=120), update_ms=20)) as server,
            OHLCV(server.url, limits=LIMITS, on_gap=lambda gap: None) as client,
        ):
            async for bar in client.get_ohlcv("FAULT:LIVE_DROP", "1", bars_count=1):
                opens.append(bar.timestamp)
                if opens[-1] >= opens[0] + 180:
                    return opens
        raise AssertionError("the stream ended")

    opens = own_clock.run(stream())
    assert opens == sorted(opens) and opens[-1] >= opens[0] + 180
