"""What the demo may touch, and its web interface. What else it promises is tested through the command."""

import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from tv_etl.cli.demo_run import DemoError, run_demo, serve_demo
from tv_etl.lake.store import BarStore
from tv_etl_tests.command import TV_ETL
from tv_etl_tests.dagster_dev import DagsterDev
from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.processes import free_port, leash


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(DemoError, match=str(tmp_path)):
        run_demo(tmp_path, Console(quiet=True))
    assert precious.read_text() == "mine"


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f"something else listens at port {port}; choose another with --port"):
            serve_demo(tmp_path / "demo", Console(quiet=True), port)
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_its_web_interface_has_its_runs_and_alerts_and_a_market_to_ask(tmp_path: Path) -> None:
    port, directory = free_port(), tmp_path / "demo"
    command = [TV_ETL, "demo", "--ui", "--dir", str(directory), "--port", str(port)]
    with (
        (tmp_path / "output").open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True) as served,
        leash(served.pid),
        closing(DagsterDev(directory, f"http://127.0.0.1:{port}")) as dev,
    ):
        wait_until(lambda: served.poll() is not None or dev.is_ready(), "the web interface answers")
        assert served.poll() is None, (tmp_path / "output").read_text()
        alerts = dev.query(
            """{ assetOrError(assetKey: {path: ["alerts"]}) { ... on Asset { assetMaterializations {
            metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
        )["assetOrError"]["assetMaterializations"]
        told = {entry["text"] for each in alerts for entry in each["metadataEntries"] if entry["label"] == "rule"}
        assert told == {"btc_above", "btc_volume"}
        assert dev.partition_states()["numMaterialized"] == 15
        before = BarStore(directory / "lake").watermark("BINANCE:BTCUSDT", "1m")
        backfill = dev.backfill(["1m|BINANCE:BTCUSDT"])
        wait_until(lambda: list(dev.runs(backfill=backfill).values()) == ["SUCCESS"], "what is launched there succeeds")
        after = BarStore(directory / "lake").watermark("BINANCE:BTCUSDT", "1m")
        assert before is not None and after is not None and after > before
        served.send_signal(signal.SIGTERM)
        assert served.wait(HANG_S) == 0
