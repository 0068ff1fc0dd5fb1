"""`tv-etl market`: the market server as a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import leash

TV_ETL = str(Path(sys.executable).with_name("tv-etl"))


@pytest.mark.parametrize("command", [[TV_ETL, "market"], [sys.executable, "-m", "tv_etl.market_server"]])
def test_the_market_prints_its_address_and_stops_when_told(command: list[str]) -> None:
    command = [*command, "--port", "0", "--seed", "7"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process,
        leash(process.pid),
    ):
        assert process.stdout is not None
        address = process.stdout.readline()
        process.terminate()
        assert address.startswith("ws://127.0.0.1:")
        assert address.endswith("/socket.io/websocket\n")
        assert process.wait(HANG_S) == 0
