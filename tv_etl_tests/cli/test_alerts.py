"""A test of a target, by hand, in a terminal."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tv_etl.cli.main import main
from tv_etl_tests.alerts.targets.services import SECRET
from tv_etl_tests.alerts.targets.setups import KINDS, running


def watchlist(tmp_path: Path, *targets: dict[str, object]) -> str:
    path = tmp_path / "watchlist.yaml"
    group = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}
    path.write_text(yaml.safe_dump({"groups": [group], "alerts": {"targets": list(targets)}}), encoding="utf-8")
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
