"""No secret gets out: every fault with a token and a session that are marked, and a search wherever text can end up."""

import asyncio
import base64
import json
import logging
import sqlite3
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tv_etl.lake.store import BarStore
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.partitions import range_tags, series_partitions
from tv_etl.orchestration.quote_alerts import BlindError
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.loop_thread import LoopThread
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl.watchlist.model import Group, Watchlist
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import (
    NOW,
    Answer,
    Line,
    Script,
    bars,
    raw_server,
    scripted_server,
    series_completed,
    shake_hands,
    symbol_resolved,
)

MARK = "CANARY"


def marked_token(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{MARK}head.{payload}.{MARK}tail"


TOKEN = marked_token(exp=time.time() + 3_600, plan="pro")
EXPIRED = marked_token(exp=1)
SESSION, SIGN = f"{MARK}session", f"v1:{MARK}sign="

QUICK = Limits(open_s=2.0, progress_s=0.4, retry_s=0.1, reconnect_s=0.1)
REQUEST = HistoryRequest("NASDAQ:AAPL", "1D", bars_count=1)
DAY = NOW // 86_400 * 86_400 - 2 * 86_400.0


async def whole(line: Line, method: str, params: list[Any]) -> None:
    if method == "create_series":
        row = [DAY, 1.0, 2.0, 0.5, 1.5, 10.0]
        info = {"session": "24x7", "timezone": "Etc/UTC"}
        await line.say(symbol_resolved(params[0], **info), bars(params[0], row), series_completed(params[0]))


def quoting(say: Callable[[Line, str, str], Awaitable[None]]) -> Answer:
    """A server that quotes the token when a series is created."""

    async def answer(line: Line, method: str, params: list[Any]) -> None:
        if method == "create_series":
            await say(line, params[0], line.received[0]["p"][0])

    return answer


async def silent(line: Line, method: str, params: list[Any]) -> None:
    pass


async def drop(line: Line, method: str, params: list[Any]) -> None:
    if method == "create_series":
        await line.hang_up()


async def reject(line: Line, method: str, params: list[Any]) -> None:
    if method == "set_auth_token":
        await line.say({"m": "protocol_error", "p": [f"bad auth token {params[0]}"]})


FAULTS: dict[str, Answer] = {
    "whole": whole,
    "silent": silent,
    "dropped": drop,
    "rejected": reject,
    "protocol error": quoting(
        lambda line, session, token: line.say({"m": "protocol_error", "p": ["wrong data", token]})
    ),
    "critical error": quoting(
        lambda line, session, token: line.say({"m": "critical_error", "p": [session, token, f"args: {token}"]})
    ),
    "symbol error": quoting(
        lambda line, session, token: line.say({"m": "symbol_error", "p": [session, "sds_sym_1", token]})
    ),
    "series error": quoting(
        lambda line, session, token: line.say({"m": "series_error", "p": [session, "sds_1", "s1", token]})
    ),
    "unknown method": quoting(lambda line, session, token: line.say({"m": token, "p": [session]})),
    "not JSON": quoting(lambda line, session, token: line.say(token)),
    "wrong type": quoting(
        lambda line, session, token: line.say({"m": "timescale_update", "p": [session, {token: token}]})
    ),
    "no frame": quoting(lambda line, session, token: line.say_text(token)),
    "long length": quoting(lambda line, session, token: line.say_text(f"~m~{token}~m~")),
}


def assert_silent(text: str, where: str) -> None:
    position = text.find(MARK)
    assert position < 0, f"{where}: ...{text[max(position - 200, 0) : position + 60]}"


def assert_error_silent(error: BaseException) -> None:
    """The error as people print it, and all that hangs on it, printed by any means."""
    assert_silent("".join(traceback.format_exception(error)), "traceback")
    linked: BaseException | None = error
    while linked is not None:
        assert_silent(f"{linked} {linked!r} {linked.args} {vars(linked)}", type(linked).__name__)
        linked = linked.__cause__ or linked.__context__


async def observe(connection: ConnectionService) -> None:
    """One fetch, whatever comes of it; all that can be printed on the way is searched."""
    service = MessageService(connection)
    try:
        await service.fetch(REQUEST)
    except TradingViewError as error:
        assert_error_silent(error)
    shown = [connection, service, connection._account, connection._token, connection._socket, *asyncio.all_tasks()]
    await connection.close()
    assert_silent(" ".join(f"{each!r} {each}" for each in shown), "repr")


class Log(logging.Handler):
    """Everything that is logged at DEBUG, by whomever, as text and as what the text was made of."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.parts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.parts.append(f"{record.msg!r} {record.args!r}")


@pytest.fixture
def log() -> Iterator[Log]:
    """Searched when the test is over."""
    root, handler = logging.getLogger(), Log()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    assert handler.lines
    assert_silent("\n".join(handler.lines), "log")
    assert_silent("\n".join(handler.parts), "log record")


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_shows_the_token(fault: str, log: Log) -> None:
    async def run() -> None:
        async with scripted_server(FAULTS[fault]) as server:
            await observe(ConnectionService(server.url, auth_token=TOKEN, limits=QUICK))
            assert server.lines[0].received[0] == {"m": "set_auth_token", "p": [TOKEN]}

    own_clock.run(run())
    # The library did log: it is its frames that were hidden.
    assert any("> TEXT [" in line for line in log.lines)


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FOUND])
def test_no_refused_connection_shows_the_token(status: HTTPStatus, log: Log) -> None:
    async def run() -> None:
        async with scripted_server(silent, status=status, headers={"Location": "/elsewhere"}) as server:
            url = server.url.replace("ws://", f"ws://user:{MARK}@") + f"?auth={MARK}"
            await observe(ConnectionService(url, auth_token=TOKEN, limits=QUICK))
            assert MARK in server.requests[0].path

    own_clock.run(run())


def test_no_dead_line_shows_the_token(log: Log) -> None:
    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        await asyncio.Event().wait()

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(b"\xff" + TOKEN.encode())

    async def run() -> None:
        limits = Limits(alive_s=0.3, silence_s=5.0, progress_s=5.0)
        for handle in (vanish, garbage):
            async with raw_server(handle) as url:
                await observe(ConnectionService(url, auth_token=TOKEN, limits=limits))
        await observe(ConnectionService("ws://127.0.0.1:1/", auth_token=TOKEN, limits=QUICK))
        await observe(ConnectionService("ws://192.0.2.1/", auth_token=TOKEN, limits=QUICK))
        await observe(ConnectionService(f"http://user:{MARK}@127.0.0.1:1/?{MARK}", auth_token=TOKEN, limits=QUICK))
        await observe(ConnectionService("ws://127.0.0.1:1/", auth_token=EXPIRED, limits=QUICK))

    own_clock.run(run())


def test_the_documented_client_shows_no_token(log: Log) -> None:
    async def run() -> None:
        async with scripted_server(whole) as server, OHLCV(server.url, auth_token=TOKEN, limits=QUICK) as client:
            await client.get_historical_ohlcv("NASDAQ:AAPL", "1D", 1)
            assert_silent(f"{client!r} {client.connection_service!r} {client.message_service!r}", "repr")
            assert server.lines[0].received[0]["p"] == [TOKEN]

    own_clock.run(run())


SITE_FAULTS = {
    "token": f'HTTP/1.1 200 OK\r\nSet-Cookie: sessionid={SESSION}\r\n\r\n"auth_token":"{TOKEN}"',
    "expired": f'HTTP/1.1 200 OK\r\n\r\n"auth_token":"{EXPIRED}"',
    "no token": f"HTTP/1.1 200 OK\r\nSet-Cookie: sessionid={SESSION}\r\n\r\nSign in, {SESSION}",
    "no text": f'HTTP/1.1 200 OK\r\n\r\n"auth_token":"{MARK} {MARK}"',
    "403": f"HTTP/1.1 403 No {SESSION}\r\n\r\n",
    "503": f"HTTP/1.1 503 No {SESSION}\r\nX-Quote: {SESSION}\r\n\r\n",
    "redirect": f"HTTP/1.1 302 Found\r\nLocation: /?{SESSION}\r\n\r\n",
    "no HTTP": f"{SESSION}\r\n\r\n",
    "bad header": f"HTTP/1.1 200 OK\r\n{SESSION}\r\n\r\n",
    "nothing": "",
}


@pytest.mark.parametrize("fault", SITE_FAULTS)
def test_no_exchange_shows_the_session(fault: str, log: Log) -> None:
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(SITE_FAULTS[fault].encode())

    async def run() -> None:
        async with raw_server(answer) as site_url, scripted_server(whole) as server:
            account = Account(session_id=SESSION, session_id_sign=SIGN, site_url=site_url.replace("ws://", "http://"))
            await observe(ConnectionService(server.url, account=account, limits=QUICK))
            assert f"sessionid={SESSION}; sessionid_sign={SIGN}" in asked[0]
            assert len(server.lines) == (fault == "token")

    own_clock.run(run())


# --- Dagster --------------------------------------------------------------------------------------------------


@contextmanager
def served(answer: Answer) -> Iterator[Script]:
    """The scripted server beside synchronous code."""
    with LoopThread() as loop:
        serving = scripted_server(answer)
        script = loop.run(serving.__aenter__())
        try:
            yield script
        finally:
            loop.run(serving.__aexit__(None, None, None))


def texts_in(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every file's bytes, and what Dagster's databases hold, unpacked where it is packed."""
    for path in directory.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield str(path), content
        if content.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(path)) as database:
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    for row in database.execute(f'SELECT * FROM "{table}"'):
                        for value in row:
                            yield f"{path} {table}", _unpacked(value)


def _unpacked(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


@pytest.mark.parametrize("answer", [whole, reject, FAULTS["symbol error"]], ids=["stored", "rejected", "failed"])
def test_neither_dagster_nor_the_lake_keeps_the_token(
    answer: Answer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TV_ETL_AUTH_TOKEN", TOKEN)
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1d"], initial_bars=1)
    home, lake = tmp_path / "home", tmp_path / "lake"
    home.mkdir()
    with served(answer) as server, dg.DagsterInstance.local_temp(str(home)) as instance:
        definitions = build_definitions(Watchlist(groups=[group]), lake, ws_url=server.url)
        assert_silent(repr(definitions.resources), "resources")
        result = definitions.resolve_job_def("bars_job").execute_in_process(
            instance=instance,
            tags=range_tags(series_partitions(group).get_partition_keys()),
            run_config={"ops": {"bars": {"config": {}}}},
            raise_on_error=False,
        )
        assert result.success is (answer is whole)
        assert server.lines[0].received[0]["p"] == [TOKEN]
        assert_silent(" ".join(map(str, result.all_events)), "events")
    if answer is whole:
        assert len(BarStore(lake).read("NASDAQ:AAPL", "1d")) == 1
    found = dict.fromkeys(where for where, content in texts_in(tmp_path) if MARK.encode() in content)
    assert list(found) == []
    # What is searched holds what such runs leave behind.
    assert any(b"NASDAQ:AAPL" in content for _, content in texts_in(tmp_path))
    printed = capfd.readouterr()
    assert_silent(printed.out + printed.err, "terminal")


# What whoever may launch a run might write into its config; ATTACKER is an address of his.
ENVIRONMENT = {"env": "AWS_SECRET_ACCESS_KEY"}
HOSTILE_RESOURCES: dict[str, dict[str, Any]] = {
    "token to his server": {"tradingview": {"ws_url": "ATTACKER", "auth_token": ENVIRONMENT}},
    "session to his server": {"tradingview": {"ws_url": "ATTACKER", "session_id": ENVIRONMENT}},
    "address": {"tradingview": {"ws_url": ENVIRONMENT}},
    "lake": {"bar_store": {"base": ENVIRONMENT}},
    "screener": {"scanner": {"base_url": ENVIRONMENT}},
    "store of alerts": {"notifier": {"store_path": ENVIRONMENT, "targets": [{"url_env": "AWS_SECRET_ACCESS_KEY"}]}},
    "files": {"io_manager": {"base_dir": ENVIRONMENT}},
}
HOSTILE_FIELDS: dict[str, dict[str, Any]] = {
    "start": {"start": ENVIRONMENT},
    "end": {"end": ENVIRONMENT},
    "refetch": {"refetch": ENVIRONMENT},
    "only": {"only": [ENVIRONMENT]},
    "all of only": {"only": ENVIRONMENT},
    "new field": {"ws_url": ENVIRONMENT},
}


def run_hostile(tmp_path: Path, server: Script, attacker: Script, run_config: dict[str, Any]) -> bool:
    """Launch a run of the bars, or of what is derived from them; True if it succeeded."""
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1d"], initial_bars=1, panel=True)
    home = tmp_path / "home"
    home.mkdir()
    text = json.dumps(run_config).replace("ATTACKER", attacker.url)
    succeeded = False
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        definitions = build_definitions(Watchlist(groups=[group]), tmp_path / "lake", ws_url=server.url)
        try:
            result = definitions.resolve_job_def("bars_job").execute_in_process(
                instance=instance,
                tags=range_tags(series_partitions(group).get_partition_keys()),
                run_config=json.loads(text),
                raise_on_error=False,
            )
        except dg.DagsterInvalidConfigError as error:
            assert_error_silent(error)
        else:
            succeeded = result.success
            assert_silent(" ".join(map(str, result.all_events)), "events")
            assert_silent(str(result.dagster_run), "run")
    found = dict.fromkeys(where for where, content in texts_in(tmp_path) if MARK.encode() in content)
    assert list(found) == []
    assert [path for path in tmp_path.rglob("*") if MARK in path.name] == []
    assert attacker.requests == []
    return succeeded


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{MARK}wJalrXUtnFEMI")
    monkeypatch.setenv("TV_ETL_AUTH_TOKEN", TOKEN)


@pytest.mark.parametrize("kind", HOSTILE_RESOURCES)
def test_no_run_config_sets_a_resource(
    kind: str, tmp_path: Path, hostile_environment: None, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    resources = {name: {"config": config} for name, config in HOSTILE_RESOURCES[kind].items()}
    with served(whole) as server, served(whole) as attacker:
        assert run_hostile(tmp_path, server, attacker, {"resources": resources})
        # It went where the definitions say, with the account of the environment.
        assert server.lines[0].received[0] == {"m": "set_auth_token", "p": [TOKEN]}
    printed = capfd.readouterr()
    assert_silent(printed.out + printed.err, "terminal")


@pytest.mark.parametrize("kind", HOSTILE_FIELDS)
def test_no_field_of_a_run_reads_the_environment(
    kind: str, tmp_path: Path, hostile_environment: None, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(whole) as server, served(whole) as attacker:
        config = {"ops": {"bars": {"config": HOSTILE_FIELDS[kind]}}}
        assert not run_hostile(tmp_path, server, attacker, config)
        assert server.requests == []
    logging.getLogger("tv_etl").debug("searched")
    printed = capfd.readouterr()
    assert_silent(printed.out + printed.err, "terminal")


def test_no_address_of_the_environment_is_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TV_ETL_WS_URL", f"ws://user:{MARK}@127.0.0.1:1/{MARK}?auth={MARK}")
    monkeypatch.setenv("TV_ETL_WEBHOOK_URL", f"https://127.0.0.1:1/{MARK}")
    alerts = {
        "rules": [{"name": "a", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 1.0}],
        "webhooks": [{"url_env": "TV_ETL_WEBHOOK_URL"}],
    }
    group = Group(symbols=["NASDAQ:AAPL"], intervals=["1d"])
    definitions = build_definitions(Watchlist.model_validate({"groups": [group], "alerts": alerts}), tmp_path / "lake")
    assert_silent(repr(definitions.resources), "resources")
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        result = definitions.resolve_job_def("bars_job").execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        assert_silent(" ".join(map(str, result.all_events)), "events")
        with (
            dg.build_sensor_context(instance=instance, resources=definitions.resources) as context,
            pytest.raises(BlindError, match=r"127\.0\.0\.1:1") as caught,
        ):
            definitions.resolve_sensor_def("quote_alerts").evaluate_tick(context)
    assert_silent("".join(traceback.format_exception(caught.value)), "tick")
    assert [where for where, content in texts_in(tmp_path) if MARK.encode() in content] == []
    printed = capfd.readouterr()
    assert_silent(printed.out + printed.err, "terminal")
