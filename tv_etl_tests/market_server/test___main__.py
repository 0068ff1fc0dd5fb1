import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from tv_etl.market_server.__main__ import main
from tv_etl.tradingview.frames import PacketDecoder


@contextmanager
def running(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that a market server in its own process prints."""
    command = [sys.executable, "-W", "error", "-m", "tv_etl.market_server", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
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
            hello = json.loads(PacketDecoder().feed(str(socket.recv(timeout=10)))[0])
            process.send_signal(number)
            output, errors = process.communicate(timeout=10)
    assert hello["timestamp"] == 1_795_197_600
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_second_address_is_the_screeners_which_can_be_busy() -> None:
    with running("--http-busy", "1") as (_, process):
        assert process.stdout is not None
        http = HTTPConnection(process.stdout.readline().strip().removeprefix("http://"), timeout=10)
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
    [["--now", "yesterday"], ["--speed", "-1"], ["--heartbeat-s", "0"], ["--update-ms", "nan"], ["--latency-ms", "-5"]],
)
def test_wrong_options_are_named(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert options[0] in capsys.readouterr().err


def test_the_help_lists_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "FAULT:SPLIT_FRAME" in capsys.readouterr().out
