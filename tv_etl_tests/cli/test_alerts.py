"""Alerts by hand, in a terminal."""

import re
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tv_etl.alerts.cap import Mute
from tv_etl.alerts.rules import read_rule
from tv_etl.alerts.store import AlertStore
from tv_etl.cli.main import main
from tv_etl_tests.alerts.targets.services import SECRET
from tv_etl_tests.alerts.targets.setups import KINDS, running
from tv_etl_tests.alerts.test_deliveries import HERE, THERE, make_alerts


def watchlist(tmp_path: Path, *targets: dict[str, object], **more: object) -> str:
    path = tmp_path / "watchlist.yaml"
    group = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}
    content = {"groups": [group], "alerts": {"targets": list(targets)}, **more}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_and_answered_is_shown_without_secrets(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(kind) as setup:
        for name, value in setup.environment.items():
            monkeypatch.setenv(name, value)
        path = watchlist(tmp_path, {"type": kind, "name": "desk", "allow_private": True, **setup.settings})
        found = CliRunner().invoke(main, ["alerts", "send-test", "desk", "--watchlist", path])
        assert found.exit_code == 0, found.output
        assert "> POST to 127.0.0.1" in found.output
        assert "This is a test of the target desk" in found.output.replace("\\", "")
        assert f"< HTTP {setup.service.statuses[0]}: " in found.output
        assert found.output.endswith("delivered to desk (127.0.0.1)\n")
        assert SECRET not in found.output
        assert len(setup.service.taken) == 1
        setup.service.fault = "403"
        again = CliRunner().invoke(main, ["alerts", "send-test", "desk", "--watchlist", path])
        assert again.exit_code == 1
        assert again.output.endswith("< HTTP 403: no\nnot delivered to desk (127.0.0.1)\n")


@pytest.mark.parametrize("kind", KINDS)
def test_each_target_shows_what_a_notification_says_where_it_is_and_that_it_is_over(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(kind) as setup:
        for name, value in setup.environment.items():
            monkeypatch.setenv(name, value)
        desk = {"type": kind, "name": "desk", "allow_private": True, **setup.settings}
        deaf = {**desk, "name": "deaf", "severity": ["critical"]}
        path = watchlist(tmp_path, desk, deaf, notify={"ui": "http://dagster.example:3000"})
        found = CliRunner().invoke(main, ["alerts", "send-test", "--notify", "--watchlist", path])
        assert found.exit_code == 0, found.output
        taken = setup.service.taken
        said = "\n".join(setup.service.text(each) for each in taken).replace("\\", "")
        assert "bars: 1d|NASDAQ:AAPL failed: this is a test, sent by tv-etl alerts send-test" in said
        assert "bars: 1d|NASDAQ:AAPL succeeded again" in said
        assert all("http://dagster.example:3000/assets/bars" in str(each) for each in taken)
        if kind == "pagerduty":
            first, second = taken
            assert [each["event_action"] for each in (first, second)] == ["trigger", "resolve"]
            assert first["dedup_key"] == second["dedup_key"] and first["payload"]["source"] == "NASDAQ:AAPL"
        refused = CliRunner().invoke(main, ["alerts", "send-test", "deaf", "--notify", "--watchlist", path])
        assert refused.output == "Error: deaf is told nothing of it: by notify.targets, or its own filters\n"


def test_a_notification_needs_notify_and_somebody_to_tell(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        return CliRunner().invoke(main, ["alerts", "send-test", *words, "--watchlist", path]).output

    path = watchlist(tmp_path)
    assert said("--notify") == "Error: the watchlist has no notify: nobody is told when collecting fails\n"
    path = watchlist(tmp_path, notify=True)
    assert said("--notify") == "Error: no target is told of it: by notify.targets, or their own filters\n"
    assert "name a TARGET, or add --notify" in said()


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    path = watchlist(tmp_path, {"type": "slack", "url_env": "NOT_SET_ANYWHERE"})
    found = CliRunner().invoke(main, ["alerts", "send-test", "NOT_SET_ANYWHERE", "--watchlist", path])
    assert found.exit_code == 1
    assert "NOT_SET_ANYWHERE: environment variable NOT_SET_ANYWHERE is not set" in found.output


def test_a_target_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = watchlist(tmp_path, {"type": "slack", "url_env": "A"}, {"type": "ntfy", "topic_env": "B", "name": "phone"})
    found = CliRunner().invoke(main, ["alerts", "send-test", "desk", "--watchlist", path])
    assert (found.exit_code, found.output) == (1, "Error: no target is called 'desk'; there are A, phone\n")
    empty = CliRunner().invoke(main, ["alerts", "send-test", "desk", "--watchlist", watchlist(tmp_path)])
    assert empty.output == "Error: no target is called 'desk'; the watchlist has none\n"


# --- what is stored


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of whose three alerts two were given up by a target."""
    for name in ("TV_ETL_STATE", "TV_ETL_ALERTS_URL"):
        monkeypatch.delenv(name, raising=False)
    store = AlertStore(tmp_path / ".tv_etl" / "alerts.sqlite")
    store.add(make_alerts(3), [HERE, THERE])
    waiting = store.pending(0.0)
    store.mark_sent([each for each in waiting if each.target == HERE], 5.0)
    store.mark_dead([each for each in waiting if each.target == THERE][:2], 5.0, "HTTP 410")
    return tmp_path


def by_hand(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["alerts", *arguments], env={"COLUMNS": "250"})
    return found.exit_code, found.output


def test_alerts_are_listed_with_who_has_them(lake: Path) -> None:
    code, printed = by_hand("list", "--lake", str(lake))
    rows = [line for line in printed.splitlines() if line.startswith("1970-01-01 00:00:01")]
    assert (code, len(rows)) == (0, 3)
    assert all("warning" in row and "X:Y is above 1" in row for row in rows)
    assert sum("1, 1 given up" in row for row in rows) == 2 and sum("1, 1 waiting" in row for row in rows) == 1
    assert len(by_hand("list", "--limit", "1", "--lake", str(lake))[1].splitlines()) == 2


def test_what_was_given_up_is_listed_and_sent_again(lake: Path) -> None:
    code, printed = by_hand("dead", "--lake", str(lake))
    assert code == 1 and printed.count("HTTP 410") == 2 and "2 deliveries were given up" in printed
    assert by_hand("resend", f"{0:032x}", "--lake", str(lake)) == (0, "1 deliveries wait to be sent again\n")
    assert by_hand("resend", "--lake", str(lake)) == (0, "1 deliveries wait to be sent again\n")
    assert by_hand("dead", "--lake", str(lake)) == (0, "0 deliveries were given up\n")
    code, printed = by_hand("resend", "nothing", "--lake", str(lake))
    assert code == 1 and "nothing of 'nothing' was given up" in printed


@pytest.mark.parametrize("command", ["list", "dead", "resend"])
def test_a_lake_without_alerts_is_named_and_gets_no_store(command: str, tmp_path: Path) -> None:
    code, printed = by_hand(command, "--lake", str(tmp_path))
    assert code == 1 and "there is no store of alerts" in printed
    assert list(tmp_path.iterdir()) == []


# --- mutes and acknowledgements


@pytest.fixture
def watched(lake: Path) -> Path:
    """The same, with two rules."""
    store = AlertStore(lake / ".tv_etl" / "alerts.sqlite")
    rules = [
        read_rule({"name": "btc_high", "symbol": "X:Y", "kind": "above", "level": 1}),
        read_rule({"name": "crash", "symbols": ["X:A", "X:B"], "kind": "below", "level": 1}),
    ]
    memory = store.load()
    registry = memory.registry.register(rules, 5.0)
    mutes = {"crash": Mute(registry.rules["crash"].generation, (), time.time() + 600, 7)}
    store.commit(memory, rules, registry, memory.state, [], [], 5.0, {}, {}, mutes)
    return lake


def test_a_rule_is_muted_listed_and_unmuted(watched: Path) -> None:
    code, printed = by_hand("mute", "btc_high", "--for", "2h", "--lake", str(watched))
    assert code == 0 and re.fullmatch(r"btc_high: muted until 2\d{3}-\d\d-\d\d \d\d:\d\d UTC, by hand\n", printed)
    assert by_hand("mute", "crash", "--symbol", "X:B", "--for", "3d", "--lake", str(watched))[0] == 0
    listed = by_hand("list", "--lake", str(watched))[1].splitlines()[-3:]
    assert listed[0] == printed.strip()
    assert listed[1].startswith("crash for X:B: muted until ") and listed[1].endswith(", by hand")
    assert listed[2].startswith("crash: muted until ")
    assert listed[2].endswith(", as it fired too often; 7 alerts kept back")
    assert by_hand("unmute", "btc_high", "--lake", str(watched)) == (0, "btc_high: no longer muted\n")
    assert by_hand("mute", "crash", "--for", "0", "--lake", str(watched)) == (0, "crash for X:B: no longer muted\n")
    assert by_hand("unmute", "crash", "--lake", str(watched)) == (0, "crash: was not muted by hand\n")
    assert "by hand" not in by_hand("list", "--lake", str(watched))[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mute", "btc_hgih", "--for", "2h"), "no rule is called 'btc_hgih'; did you mean btc_high?"),
        (("unmute", "btc_hgih"), "no rule is called 'btc_hgih'; did you mean btc_high?"),
        (("mute", "crash", "--for", "2h", "--symbol", "X:C"), "does not watch 'X:C'; it watches X:A, X:B"),
        (("mute", "crash", "--for", "2 hours"), "--for: expected a duration such as 90s, 15m, 2h or 1d, not '2 hours'"),
        (("mute", "crash", "--for", "99w"), "at most 366d"),
        (("ack", "abc"), "'abc' is too short: write 6 characters"),
        (("ack", "abcdef"), "no alert has an id that begins with 'abcdef'"),
        (("ack", "000000"), "several alerts have ids that begin with '000000': "),
    ],
)
def test_what_cannot_be_done_is_said_with_what_could_be(watched: Path, arguments: tuple[str, ...], said: str) -> None:
    code, printed = by_hand(*arguments, "--lake", str(watched))
    assert code == 1 and printed.startswith("Error: ") and said in printed


def test_an_alert_is_acknowledged_once(watched: Path) -> None:
    event_id = f"{1:032x}"
    code, printed = by_hand("ack", event_id, "--lake", str(watched))
    assert code == 0 and printed.startswith(f"{event_id}: acknowledged: X:Y is above 1")
    assert f"{event_id}: acknowledged since 2" in by_hand("ack", event_id, "--lake", str(watched))[1]
    rows = by_hand("list", "--lake", str(watched))[1].splitlines()
    assert [row for row in rows if "acknowledged" in row] == [row for row in rows if event_id in row]
