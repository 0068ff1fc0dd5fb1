"""`notify:` as it is written, and what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from tv_etl.alerts.troubles import TOPICS
from tv_etl.watchlist.model import Watchlist, WatchlistError, load_watchlist

BEFORE = "groups:\n  - {symbols: [NASDAQ:AAPL], intervals: [1d]}\nalerts: {targets: [{type: slack, url_env: DESK}]}\n"


def load(folder: Path, line: str) -> Watchlist:
    path = folder / "watchlist.yaml"
    path.write_text(f"{BEFORE}{line}\n", encoding="utf-8")
    return load_watchlist(path)


@pytest.mark.parametrize("line", ["", "notify:", "notify: false"])
def test_nothing_is_told_unless_it_is_asked_for(tmp_path: Path, line: str) -> None:
    assert load(tmp_path, line).notify is None


@pytest.mark.parametrize("line", ["notify: true", "notify: {}"])
def test_all_of_it_is_told_as_a_warning_by_default(tmp_path: Path, line: str) -> None:
    notify = load(tmp_path, line).notify
    assert notify is not None and notify.severities == dict.fromkeys(TOPICS, "warning")


@pytest.mark.parametrize(
    ("line", "severities"),
    [
        ("notify: {severity: critical, on: [runs, seams]}", {"runs": "critical", "seams": "critical"}),
        ("notify: {severity: info, on: {runs: error, checks: }}", {"runs": "error", "checks": "info"}),
        ('notify: {"on": [sensors]}', {"sensors": "warning"}),
    ],
)
def test_topics_are_chosen_and_each_may_have_its_severity(
    tmp_path: Path, line: str, severities: dict[str, str]
) -> None:
    notify = load(tmp_path, line).notify
    assert notify is not None and notify.severities == severities


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("notify: 5", "4:9: notify: expected a mapping with the keys severity, targets, on, ui, interval_s, not 5"),
        ("notify: {sevrity: info}", "4:10: notify.sevrity: is not a known key; did you mean severity?"),
        ("notify: {on: [runs, fails]}", "4:14: notify.on: 'fails' is nothing that is told; expected some of runs,"),
        ("notify: {on: []}", "4:14: notify.on: name at least one of runs, checks, losses, seams, sensors"),
        ("notify: {on: {runs: bad}}", "4:21: notify.on.runs: Input should be 'info', 'warning', 'error'"),
        ("notify: {targets: [DESK, night]}", "4:26: notify.targets.1: no target is called night; there are DESK"),
        ("notify: {ui: dagster}", "4:14: notify.ui: 'dagster' is not the address of a web interface; write e.g."),
        ("notify: {ui: 'http://me:pw@x'}", "4:14: notify.ui: expected no more than a host, a port and a path"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, line: str, mistake: str) -> None:
    with pytest.raises(WatchlistError) as caught:
        load(tmp_path, line)
    assert f"watchlist.yaml:{mistake}" in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("value", [True, {"on": ["runs"]}, {"on": {"runs": "error"}}, {"ui": "http://a"}])
def test_the_schema_allows_what_is_allowed(value: Any) -> None:
    import jsonschema

    content = {"groups": [{"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}], "notify": value}
    jsonschema.validate(content, Watchlist.model_json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"notify": {"on": ["fails"]}}, Watchlist.model_json_schema())
