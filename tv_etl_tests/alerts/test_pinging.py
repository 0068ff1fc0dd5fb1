"""A dead man's switch called beside a tick: real addresses on loopback, one for each way to fail."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts import pinging
from tv_etl.alerts.pinging import Pinging
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.addresses import NOT_PUBLIC, OF_THE_LINK
from tv_etl.alerts.targets.ping import ReadyPing
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.processes import free_port

NOW = 1_790_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


class Switch(ThreadingHTTPServer):
    """Answers with its status, and keeps what was got; while it hangs, not before it is released."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.gets, self.hangs, self.released = 200, list[str](), False, threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up


class _Handler(BaseHTTPRequestHandler):
    server: Switch

    def do_GET(self) -> None:
        self.server.gets.append(self.path)
        if self.server.hangs:
            self.server.released.wait(HANG_S)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Switch]:
    made = Switch()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.released.set()
    made.shutdown()
    thread.join()
    made.server_close()


def ping(store: AlertStore, url: str, now: float = NOW, allow_private: bool = True, mistake: str = "") -> str | None:
    """What is said of a call; None where none was due."""
    target = ReadyPing(300.0, url, allow_private, mistake)
    begun = Pinging.begin(target, store.load().flags, now)
    return None if begun is None else begun.end(store)


def test_it_is_reached_once_in_its_time(store: AlertStore, server: Switch) -> None:
    url = f"{server.url}/ping/1?status=up"
    assert [ping(store, url, NOW + at) for at in (0, 30, 299, 300, 330)] == ["", None, None, "", None]
    assert server.gets == ["/ping/1?status=up"] * 2


def test_failures_are_counted_until_it_is_reached_again(store: AlertStore, server: Switch) -> None:
    server.status = 500
    assert ping(store, server.url) == "the ping failed once: HTTP 500"
    assert ping(store, server.url, NOW + 30) == "the ping failed 2 times in a row: HTTP 500"
    server.status = 200
    assert ping(store, server.url, NOW + 60) == ""
    server.status = 404
    assert ping(store, server.url, NOW + 360) == "the ping failed once: HTTP 404"


def test_nobody_there_is_a_failure_that_names_no_address(store: AlertStore) -> None:
    said = ping(store, f"http://127.0.0.1:{free_port()}/CANARY5f3a")
    assert said == "the ping failed once: ConnectError"


def test_one_that_never_answers_holds_up_nothing(
    store: AlertStore, server: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinging, "PING_S", 0.2)
    server.hangs = True
    assert ping(store, server.url) == "the ping failed once: no answer in time"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1]"])
def test_addresses_of_the_link_and_of_clouds_are_never_called(store: AlertStore, host: str) -> None:
    assert ping(store, f"http://{host}/latest") == f"the ping failed once: {OF_THE_LINK}"


def test_a_private_address_wants_to_be_allowed(store: AlertStore, server: Switch) -> None:
    assert ping(store, server.url, allow_private=False) == f"the ping failed once: {NOT_PUBLIC}"
    assert server.gets == []


def test_it_goes_through_the_proxy(store: AlertStore, server: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_PROXY", server.url)
    assert ping(store, "http://hc.invalid/ping/1") == ""
    assert server.gets == ["http://hc.invalid/ping/1"]
    monkeypatch.setenv("TV_ETL_PROXY", "no proxy")
    said = ping(store, "http://hc.invalid/ping/1", NOW + 300)
    assert said == "the ping failed once: TV_ETL_PROXY: expected the address of a proxy, e.g. http://proxy:3128"


def test_a_variable_that_is_not_set_is_a_failure_too(store: AlertStore) -> None:
    said = ping(store, "", mistake="environment variable PING_URL is not set")
    assert said == "the ping failed once: environment variable PING_URL is not set"
