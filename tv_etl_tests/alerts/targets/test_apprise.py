"""Apprise in a process of its own, calling a real server on loopback."""

import json
from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets import apprise, calls
from tv_etl.alerts.targets.apprise import AppriseTarget
from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget, ready
from tv_etl_tests.alerts.targets.services import NOW, SECRET, Anything, HttpServer, serve
from tv_etl_tests.alerts.targets.setups import make_alert
from tv_etl_tests.patience import HANG_S


@pytest.fixture
def server() -> Any:
    found = HttpServer(Anything())
    thread = serve(found)
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def alert_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlertStore:
    monkeypatch.setattr(calls, "CALL_DEADLINE_S", HANG_S)  # a process takes longer to start than a call may
    monkeypatch.setattr("tv_etl.alerts.courier.CALL_DEADLINE_S", HANG_S)
    return AlertStore(tmp_path / "alerts.sqlite")


def target(url: str, **settings: Any) -> ReadyTarget:
    usual = {"type": "apprise", "url_env": "ANY", "allow_private": True}
    found = ready(AppriseTarget.model_validate({**usual, **settings}), {"ANY": url})
    assert isinstance(found, ReadyTarget), found
    return found


def local(server: HttpServer) -> str:
    return f"json://127.0.0.1:{server.server_port}/{SECRET}"


def send(store: AlertStore, to: ReadyTarget, *alerts: Alert, now: float = NOW) -> DeliveryReport:
    store.add(alerts, [to.key])
    return deliver(store, [to], now, HANG_S, jitter=lambda: 1.0)


def test_several_alerts_are_one_call_with_all_of_them(alert_store: AlertStore, server: HttpServer) -> None:
    alerts = [make_alert(number, f"X:S{number}", severity="critical") for number in range(3)]
    alerts.append(make_alert(9, message="Z\u00fc\u6771\U0001f680 </b> $(id) \x1b"))
    assert send(alert_store, target(local(server)), *alerts) == DeliveryReport(sent=4)
    [taken] = server.service.taken
    posted = json.loads(taken["body"])
    assert (posted["title"], posted["type"]) == ("4 alerts", "failure")
    assert posted["message"].splitlines()[0].startswith("CRITICAL: X:S0 crossed above 10")
    assert "Z\u00fc\u6771\U0001f680 </b> $(id) \ufffd" in posted["message"]


def test_what_is_too_long_for_the_service_is_split_and_not_cut(alert_store: AlertStore, server: HttpServer) -> None:
    alerts = [make_alert(number, f"X:S{number}") for number in range(1000)]
    assert send(alert_store, target(local(server)), *alerts).sent == 1000
    posts = [json.loads(taken["body"])["message"] for taken in server.service.taken]
    assert len(posts) > 1
    assert "".join(posts).count(" crossed above ") > 990  # a line may lie across two of them


def test_a_refusal_is_tried_again_and_its_secret_is_not_told(alert_store: AlertStore, server: HttpServer) -> None:
    server.service.fault = "401"
    to = target(local(server))
    report = send(alert_store, to, make_alert())
    assert report.retried == 1
    assert report.errors[0].startswith("ANY (json): ") and SECRET not in str(report)
    server.service.fault = ""
    assert send(alert_store, to, now=NOW + 60).sent == 1


def test_an_address_that_is_not_public_is_not_called(alert_store: AlertStore, server: HttpServer) -> None:
    report = send(alert_store, target(local(server), allow_private=False), make_alert())
    assert report.errors == ("ANY (json): refused: the address is not public (allow_private permits it)",)
    report = send(alert_store, target("json://169.254.169.254/x", name="link"), make_alert(1))
    assert report.errors == ("link (json): refused: the address is one of the link, or of a cloud's metadata",)
    assert server.service.taken == []


def test_an_address_that_apprise_does_not_know_is_named(alert_store: AlertStore) -> None:
    report = send(alert_store, target(f"nothing://{SECRET}"), make_alert())
    assert report.errors == ("ANY (nothing): Apprise does not know an address of this form",)


def test_with_a_proxy_there_is_no_other_way_out(
    alert_store: AlertStore, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TV_ETL_PROXY", server.url)  # it answers whatever it is asked to fetch
    assert send(alert_store, target("json://hook.invalid/x"), make_alert()).sent == 1
    assert server.service.taken[0]["headers"]["host"] == "hook.invalid"


def test_a_process_that_hangs_ends_with_its_call(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, secrets = target(local(server)).spec, target(local(server)).secrets
    assert isinstance(spec, AppriseTarget)
    monkeypatch.setattr(apprise, "PROCESS", "timeit")  # reads nothing, says nothing that is JSON
    assert spec.send(secrets, _envelope(), "", HANG_S).error == "Apprise ended with exit code 0"
    assert spec.send(secrets, _envelope(), "", 0.001).error == "no answer in time"


def _envelope() -> Any:
    from tv_etl.alerts.targets.target import Envelope

    return Envelope("id", [make_alert().event], False, NOW)


def test_what_is_no_address_is_named_by_its_variable() -> None:
    found = ready(AppriseTarget(type="apprise", url_env="ANY"), {"ANY": SECRET})
    assert isinstance(found, UnusableTarget)
    assert found.reason == "environment variable ANY: expected an address as Apprise has them, such as gotify://..."
