"""A dead man's switch as the watchlist has it."""

import pytest

from tv_etl.alerts.targets.ping import Ping, ReadyPing, ready_ping

pytestmark = pytest.mark.pure


def written(**fields: object) -> Ping:
    return Ping.model_validate({"url_env": "PING_URL", **fields})


def test_its_address_is_that_of_the_variable_and_shown_nowhere() -> None:
    ready = ready_ping(written(every="10m"), {"PING_URL": "https://hc-ping.com/CANARY5f3a"})
    assert (ready.every_s, ready.mistake, ready.place.host, ready.place.port) == (600, "", "hc-ping.com", 443)
    assert "CANARY5f3a" not in repr(ready)
    assert ready_ping(written(), {}).every_s == 300


@pytest.mark.parametrize("address", ["", "hc-ping.com/CANARY5f3a", "ftp://h/CANARY5f3a", "http://h/CANARY5f3a"])
def test_an_address_that_is_none_names_its_variable(address: str) -> None:
    ready = ready_ping(written(), {"PING_URL": address})
    assert ready.mistake.startswith("environment variable PING_URL") and "CANARY5f3a" not in ready.mistake
    assert ready.url == ""


def test_on_a_network_of_ones_own_it_needs_no_tls() -> None:
    assert ready_ping(written(allow_private=True), {"PING_URL": "http://kuma:3001/api/push/x?status=up"}).mistake == ""


def test_it_is_due_every_so_often_and_when_the_clock_was_set_back() -> None:
    ready = ReadyPing(300.0)
    assert [ready.is_due(at, 1_000.0) for at in (None, 700.0, 701.0, 1_000.0, 1_001.0)] == [
        True,
        True,
        False,
        False,
        True,
    ]
