"""Alerts by hand, in a terminal."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

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
