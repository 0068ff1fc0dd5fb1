import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tv_etl.market_server.__main__ import main
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.tradingview.accounts import Account
from tv_etl.tradingview.blocking import BlockingOHLCV
from tv_etl.tradingview.errors import ConnectionFailedError
from tv_etl.tradingview.frames import PacketDecoder
from tv_etl.tradingview.services import Limits
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import leash


@contextmanager
def running(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that a market server in its own process prints."""
    command = [sys.executable, "-W", "error", "-m", "tv_etl.market_server", "--port", "0", *options]
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process,
        leash(process.pid),
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline(), process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_serves_and_ends_cleanly(number: signal.Signals) -> None:
    with running("--seed", "7", "--now", "2026-11-20T18:00:00Z", "--speed", "0") as (line, process):
        url = line.removesuffix("\n")
        assert url.startswith("ws://127.0.0.1:") and url.endswith("/socket.io/websocket")
        assert process.stdout is not None
        http_url = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", http_url)
        with connect(url, origin=Origin("https://www.tradingview.com")) as socket:
            hello = json.loads(PacketDecoder().feed(str(socket.recv(timeout=HANG_S)))[0])
            process.send_signal(number)
            output, errors = process.communicate(timeout=HANG_S)
    assert hello["timestamp"] == 1_795_197_600
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_second_address_is_the_screeners_which_can_be_busy() -> None:
    with running("--http-busy", "1") as (_, process):
        assert process.stdout is not None
        http = HTTPConnection(process.stdout.readline().strip().removeprefix("http://"), timeout=HANG_S)
        statuses = []
        for _ in range(2):
            http.request("POST", "/crypto/scan", b"{}")
            response = http.getresponse()
            statuses.append((response.status, response.getheader("Retry-After")))
            response.read()
        http.close()
    assert statuses == [(429, "1"), (200, None)]


def test_a_taken_http_port_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as (_, process):
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        assert main(["--port", "0", "--http-port", port]) == 1
    assert "address already in use" in capsys.readouterr().err


def test_a_folder_without_bars_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", "--replay", str(tmp_path)]) == 1
    assert "no CSV or Parquet files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--plan", "gold"],
        ["--account-plan", "anonymous"],
        ["--ban", "me"],
        ["--port", "99999"],
        ["--rate-limit", "-1"],
        ["--max-connections", "many"],
        ["--session-rate", "0"],
        ["--now", "yesterday"],
        ["--speed", "-1"],
        ["--speed", "inf"],
        ["--heartbeat-s", "0"],
        ["--update-ms", "nan"],
        ["--latency-ms", "-5"],
    ],
)
def test_wrong_options_are_named(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert f"argument {options[0]}: " in capsys.readouterr().err


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    in_code_only = {"clock", "http_retry_after_s"}
    names = {field.name for field in fields(ServerOptions)} - in_code_only
    for name in (*names, "list_faults", "seed", "now", "speed", "replay"):
        assert f"--{name.replace('_', '-')} " in printed


def test_the_faults_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert all(line.endswith(fault.effect) for line, fault in zip(lines, FAULTS.values(), strict=True))


def bars_of(url: str, count: int, **options: Any) -> int:
    with BlockingOHLCV(url, **options) as client:
        return len(client.get_historical_ohlcv("BINANCE:BTCUSDT", "1", bars_count=count))


def test_the_plan_is_that_of_anonymous_connections_and_of_sessions_without_a_name() -> None:
    with running("--plan", "essential", "--account-plan", "plus", "--now", "2026-11-20T18:00:00Z") as (line, process):
        assert process.stdout is not None
        site_url = process.stdout.readline().strip() + "/"
        assert bars_of(line.strip(), 10_500) == 10_000
        for session, count in (("anybody", 10_000), ("premium", 10_500)):
            account = Account(session_id=session, site_url=site_url)
            assert bars_of(line.strip(), 10_500, account=account) == count


def test_limits_refuse_what_is_too_much() -> None:
    with running("--max-connections", "1", "--rate-limit", "2", "--jitter-ms", "5") as (line, _):
        origin = Origin("https://www.tradingview.com")
        with (
            connect(line.strip(), origin=origin),
            pytest.raises(InvalidStatus) as full,
            connect(line.strip(), origin=origin),
        ):
            pass
        with connect(line.strip(), origin=origin):
            pass
        with pytest.raises(InvalidStatus) as fast, connect(line.strip(), origin=origin):
            pass
    assert (full.value.response.status_code, full.value.response.headers["Retry-After"]) == (429, "5")
    assert fast.value.response.status_code == 429 and int(fast.value.response.headers["Retry-After"]) > 5


def test_accounts_and_bans_follow_their_options() -> None:
    with running("--account-connections", "0", "--token-lifetime-s", "3600") as (line, process):
        assert process.stdout is not None
        account = Account(session_id="plus", site_url=process.stdout.readline().strip() + "/")
        with pytest.raises(ConnectionFailedError, match="user connections limit reached"):
            bars_of(line.strip(), 5, account=account, limits=Limits(retry_s=0.1))
    with running("--ban", "ip") as (line, _), pytest.raises(ConnectionFailedError, match="banned by ip"):
        bars_of(line.strip(), 5)


def test_with_tls_a_third_line_names_the_authority_to_trust() -> None:
    with running("--tls") as (line, process):
        assert process.stdout is not None
        site_url, ca_path = (process.stdout.readline().strip() for _ in range(2))
        code = (
            "from tv_etl.tradingview.accounts import Account; from tv_etl.tradingview.blocking import BlockingOHLCV\n"
            f"account = Account(session_id='plus', site_url={site_url + '/'!r})\n"
            f"with BlockingOHLCV({line.strip()!r}, account=account) as client:\n"
            "    print(len(client.get_historical_ohlcv('NASDAQ:AAPL', '7', bars_count=5)))"
        )
        environment = {**os.environ, "SSL_CERT_FILE": ca_path}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=HANG_S
        )
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
        untrusting = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)
        assert untrusting.returncode != 0 and "no token for the session" in untrusting.stderr
        process.terminate()
        process.wait(timeout=HANG_S)
    assert not Path(ca_path).exists()


def test_without_its_library_tls_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    assert main(["--port", "0", "--tls"]) == 1
    assert "pip install 'tv-etl[tls]'" in capsys.readouterr().err
