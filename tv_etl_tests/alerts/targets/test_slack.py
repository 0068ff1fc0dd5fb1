"""Slack's answers; its messages are tried in test_configured."""

import pytest

from tv_etl.alerts.targets.slack import SlackTarget
from tv_etl.alerts.targets.target import Answer

pytestmark = pytest.mark.pure

SPEC = SlackTarget(type="slack", url_env="HOOK")


@pytest.mark.parametrize(
    ("status", "body", "is_dead", "error"),
    [
        (404, b"no_service", False, "HTTP 404: no_service"),
        (410, b"channel_is_archived", True, "HTTP 410: channel_is_archived"),
        (500, b"rollup_error", False, "HTTP 500: rollup_error"),
        (502, b"<html>Bad Gateway</html>", False, "HTTP 502"),
    ],
)
def test_the_word_that_slack_says_is_told(status: int, body: bytes, is_dead: bool, error: str) -> None:
    verdict = SPEC.judge(Answer(status, {}, body))
    assert (verdict.is_sent, verdict.is_dead, verdict.error) == (False, is_dead, error)
