"""Every kind of target, delivered to by the courier, against a server that takes only what its service documents."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts.courier import DeliveryReport, deliver
from tv_etl.alerts.deliveries import DeliveryStats
from tv_etl.alerts.events import SEVERITIES
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.store import AlertStore
from tv_etl.alerts.targets.configured import TARGETS
from tv_etl.alerts.targets.target import ReadyTarget, UnusableTarget, ready
from tv_etl_tests.alerts.targets.services import NOW, SECRET
from tv_etl_tests.alerts.targets.setups import KINDS, WRITTEN, Setup, make_alert, running, written
from tv_etl_tests.patience import HANG_S

GROUPED = [kind for kind in KINDS if kind not in ("webhook", "pagerduty")]
HOSTILE = "A<!channel>&B </b><a href='x'>*_~`|[x](http://y)@everyone\\\u202e\nZ\u00fc\u6771\U0001f680"


@pytest.fixture
def alert_store(tmp_path: Path) -> AlertStore:
    return AlertStore(tmp_path / "alerts.sqlite")


@pytest.fixture(params=KINDS)
def setup(request: pytest.FixtureRequest) -> Iterator[Setup]:
    with running(request.param) as found:
        yield found


@pytest.fixture(params=GROUPED)
def grouping(request: pytest.FixtureRequest) -> Iterator[Setup]:
    with running(request.param) as found:
        yield found


def send(store: AlertStore, setup: Setup, *alerts: Alert, now: float = NOW) -> DeliveryReport:
    store.add(alerts, [setup.target.key])
    setup.service.now = now
    return deliver(store, [setup.target], now, HANG_S, jitter=lambda: 1.0)


def test_every_kind_is_tried_here_or_in_a_file_of_its_own() -> None:
    kinds = {spec.model_fields["type"].annotation.__args__[0] for spec in TARGETS}  # type: ignore[union-attr]
    assert kinds == {*KINDS, "email", "apprise"}


def test_an_alert_arrives_in_the_documented_form(alert_store: AlertStore, setup: Setup) -> None:
    alert = make_alert()
    assert send(alert_store, setup, alert) == DeliveryReport(sent=1)
    [text] = setup.texts
    assert "NASDAQ:AAPL crossed above 10 at 10.5" in text
    assert alert_store.stats == DeliveryStats(pending=0, delivered=1, dead=0)
    assert send(alert_store, setup, now=NOW + 60) == DeliveryReport()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_severity_has_its_form(alert_store: AlertStore, setup: Setup, severity: Any) -> None:
    assert send(alert_store, setup, make_alert(severity=severity)).sent == 1
    shouted = "NASDAQ:AAPL crossed above" if severity in ("info", "warning") else f"{severity.upper()}: NASDAQ:AAPL"
    assert setup.kind == "webhook" or shouted in setup.texts[0]


def test_markup_and_odd_characters_stay_what_they_are(alert_store: AlertStore, setup: Setup) -> None:
    """Nothing of a symbol or a message is a mention, a link, a tag or an escape."""
    assert send(alert_store, setup, make_alert(symbol=HOSTILE[:40], message=HOSTILE)).sent == 1
    [text] = setup.texts
    if setup.kind != "webhook":
        expected = " ".join(HOSTILE.split()).replace("\u202e", "\ufffd")
        assert expected in text


def test_what_is_too_long_for_one_message_says_so(alert_store: AlertStore, setup: Setup) -> None:
    """Characters of four bytes, quotes and markup: whatever the service counts, or escapes, it is not too much."""
    for number, letter in enumerate(("\U0001f680", '"', "*", "&", "\\")):
        alert = make_alert(number, message=letter * 30_000)
        assert send(alert_store, setup, alert, now=NOW + 60 * number).sent == 1, setup.service.replies[-1]
    assert set(setup.service.statuses) <= {200, 202}
    assert setup.kind == "webhook" or all("…" in text for text in setup.texts)


def test_several_alerts_are_one_message(alert_store: AlertStore, grouping: Setup) -> None:
    alerts = [make_alert(number, f"X:S{number}") for number in range(3)]
    assert send(alert_store, grouping, *alerts).sent == 3
    [text] = grouping.texts
    assert "3 alerts" in text and all(f"X:S{number} crossed" in text for number in range(3))


def test_a_thousand_alerts_are_one_message_that_tells_how_many_it_leaves_out(
    alert_store: AlertStore, grouping: Setup
) -> None:
    alerts = [make_alert(number, f"X:S{number}") for number in range(999)]
    worst = make_alert(999, "X:WORST", severity="critical")
    assert send(alert_store, grouping, *alerts, worst).sent == 1000
    [text] = grouping.texts
    shown = text.count(" crossed above ")
    assert f"and {1000 - shown:,} more, see the alerts in Dagster" in text
    assert 10 < shown < 1000
    assert "CRITICAL: X:WORST" in text


def test_no_tick_sends_more_than_the_service_takes(alert_store: AlertStore, setup: Setup) -> None:
    """New alerts come while older ones wait; ticks are as close as they can be. The service never has to refuse."""
    number, now = 0, NOW
    for _ in range(60):
        alerts = [make_alert(number + each) for each in range(7)]
        number += len(alerts)
        send(alert_store, setup, *alerts, now=now)
        now += 5.0
    for _ in range(100):
        if not alert_store.stats.pending:
            break
        send(alert_store, setup, now=now)
        now += 30.0
    assert alert_store.stats == DeliveryStats(pending=0, delivered=number, dead=0)
    assert 429 not in setup.service.statuses


WAITS = {"slack": 30.0, "discord": 64.57, "telegram": 34.0, "ntfy": 5.0, "pagerduty": 5.0}


@pytest.mark.parametrize("kind", sorted(WAITS))
def test_a_service_that_is_too_busy_is_called_again_when_it_says(alert_store: AlertStore, kind: str) -> None:
    with running(kind) as setup:
        setup.service.times = [NOW] * 120  # somebody else has used it up
        report = send(alert_store, setup, make_alert())
        assert report.retried == 1
        assert setup.service.statuses == [429]
        assert send(alert_store, setup, now=NOW + WAITS[kind] - 0.01).retried == 0
        setup.service.times = []
        assert send(alert_store, setup, now=NOW + WAITS[kind] + 1.0).sent == 1


def test_a_connection_that_breaks_is_tried_again_and_the_alert_arrives(alert_store: AlertStore, setup: Setup) -> None:
    setup.service.fault = "drop"
    assert send(alert_store, setup, make_alert()).retried == 1
    setup.service.fault = "503"
    assert send(alert_store, setup, now=NOW + 60).retried == 1
    setup.service.fault = ""
    assert send(alert_store, setup, now=NOW + 600).sent == 1
    assert len(setup.service.taken) == 1


REFUSALS = {
    "slack": "HTTP 403: invalid_token",
    "discord": "HTTP 401: Invalid Webhook Token",
    "telegram": "HTTP 401: Unauthorized",
    "ntfy": "HTTP 401: unauthorized",
    "pagerduty": "HTTP 400: Event object is invalid; Invalid routing key ***",
}


@pytest.mark.parametrize("kind", sorted(REFUSALS))
def test_a_token_that_is_refused_is_tried_again_and_the_reason_is_told(alert_store: AlertStore, kind: str) -> None:
    with running(kind) as setup:
        good = dict(setup.environment)
        setup.environment |= {name: value.replace(SECRET, "WRONG5f3aQX") for name, value in good.items()}
        setup.environment["KEY"] = "W" * 32
        report = send(alert_store, setup, make_alert())
        assert (report.retried, report.errors) == (1, (f"{setup.target.label}: {REFUSALS[kind]}",))
        setup.environment = good
        assert send(alert_store, setup, now=NOW + 300).sent == 1


def test_what_is_gone_is_given_up(alert_store: AlertStore, setup: Setup) -> None:
    setup.service.fault = "410"
    assert send(alert_store, setup, make_alert()).dead == 1
    assert alert_store.dead_letters(10)[0].error.startswith(f"{setup.target.label}: HTTP 410")


def test_the_secrets_are_nowhere(
    alert_store: AlertStore,
    setup: Setup,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, logger=name)
    for number, fault in enumerate(("", "404", "drop")):
        setup.service.fault = fault
        send(alert_store, setup, make_alert(number), now=NOW + 400 * number)
    output = capfd.readouterr()
    target = setup.target
    shown = [caplog.text, output.out, output.err, repr(target), target.label, repr(alert_store.pending(NOW + 9e3))]
    assert not [text for text in shown if SECRET in text]
    assert not [file for file in tmp_path.rglob("*") if SECRET.encode() in file.read_bytes()]


# --- how it is written down


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_that_is_not_set_is_named(kind: str) -> None:
    spec = written({"type": kind, **WRITTEN[kind][1]})
    found = ready(spec, {})
    assert isinstance(found, UnusableTarget)
    [variable, *_] = spec.variables
    assert found.reason == f"environment variable {variable} is not set"
    assert (found.key, found.label) == (spec.key, spec.called)


MALFORMED = {
    "webhook": ("HOOK", "not a URL"),
    "slack": ("HOOK", "not a URL"),
    "discord": ("HOOK", "not a URL"),
    "telegram": ("TOKEN", "expected a bot's token, such as 123456:ABC-DEF..."),
    "ntfy": ("TOPIC", "expected a topic, 1 to 64 characters of a-z A-Z 0-9 _ -"),
    "pagerduty": ("KEY", "expected an integration key of 32 letters and digits"),
}


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_a_malformed_secret_is_named_by_its_variable_and_not_shown(kind: str) -> None:
    variable, right = MALFORMED[kind]
    values = dict.fromkeys(("HOOK", "TOKEN", "TOPIC", "KEY"), f"{SECRET} /\u00e9")
    found = ready(written({"type": kind, **WRITTEN[kind][1]}), values)
    assert isinstance(found, UnusableTarget)
    assert found.reason == f"environment variable {variable}: {right}"


def test_a_target_is_the_same_when_its_secret_changes() -> None:
    spec = written({"type": "slack", "url_env": "HOOK"})
    one, other = (ready(spec, {"HOOK": f"https://{host}.example/x"}) for host in "ab")
    assert isinstance(one, ReadyTarget) and isinstance(other, ReadyTarget)
    assert one.key == other.key == ready(spec, {}).key == "slack HOOK"
    assert (one.label, other.label) == ("HOOK (a.example)", "HOOK (b.example)")
