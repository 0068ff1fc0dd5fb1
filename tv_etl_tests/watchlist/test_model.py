"""A watchlist says what to collect; a mistake in it is named with its place."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tv_etl.tradingview.scanner import ScanFilter, ScanRequest, ScanSort
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl.watchlist.model import Group, LossWarning, Watchlist, WatchlistError, load_watchlist
from tv_etl_tests.yardstick import cpu_ratio

GROUP = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}
RULE = {"name": "high", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 200}
WEBHOOK = {"url_env": "TV_ETL_WEBHOOK_URL"}


def load(tmp_path: Path, content: Any) -> Watchlist:
    path = tmp_path / "watchlist.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return load_watchlist(path)


def test_the_default_watchlist_loads() -> None:
    watchlist = load_watchlist(Path(__file__).parents[2] / "watchlist.yaml")
    assert watchlist.groups[0].name == "bars"
    assert watchlist.alerts.rules


def test_intervals_are_read_in_either_spelling_and_as_yaml_numbers(tmp_path: Path) -> None:
    watchlist = load(tmp_path, "groups: [{symbols: ['A:B'], intervals: [1, 60, 1D, 1M, 5m]}]")
    assert watchlist.groups[0].intervals == ["1m", "1h", "1d", "1mo", "5m"]


def test_every_interval_has_a_schedule_unless_it_is_null() -> None:
    group = Group(symbols=["A:B"], intervals=["1m", "1h", "1d", "1mo"], schedules={"1d": None, "1h": "7 * * * *"})
    assert group.cron("1m") == "1-59/5 * * * *"
    assert group.cron("1h") == "7 * * * *"
    assert group.cron("1d") is None
    assert group.cron("1mo") is not None


def test_an_interval_whose_bars_a_day_of_downtime_loses_is_named() -> None:
    with pytest.warns(LossWarning, match=r"at 5s the server has 5,000 bars, so a pause of more than 6\.9 hours"):
        Group(symbols=["A:B"], intervals=["1d", "5s"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Group(symbols=["A:B"], intervals=["30s", "1m", "1mo"])


def test_a_scanner_may_replace_the_list_of_symbols(tmp_path: Path) -> None:
    text = """
        groups:
          - name: liquid
            symbols:
              scanner:
                market: crypto
                filters:
                  - {left: volume, operation: greater, right: 1000}
                  - {left: type, operation: in_range, right: [spot]}
                sort: {by: volume, order: desc}
                limit: 20
              interval_s: 600
            intervals: [1d]
          - name: listed
            symbols: ["A:B"]
            intervals: [1d]
    """
    liquid, listed = load(tmp_path, text).groups
    assert liquid.symbols == []
    assert liquid.scanner == ScanRequest(
        market="crypto",
        filters=(
            ScanFilter(left="volume", operation="greater", right=1000),
            ScanFilter(left="type", operation="in_range", right=("spot",)),
        ),
        sort=ScanSort(by="volume", order="desc"),
        limit=20,
    )
    assert liquid.scan_interval_s == 600
    assert (listed.symbols, listed.scanner) == (["A:B"], None)


def test_settings_reach_the_series() -> None:
    group = Group(symbols=["A:B"], intervals=["1d"], adjustment="dividends", session="extended", currency="EUR")
    assert group.settings == SeriesSettings("dividends", "extended", "EUR")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("groups: [", "watchlist.yaml"),
        ({}, "1:1: groups: is missing"),
        ({"groups": []}, "groups"),
        ({"groups": [{**GROUP, "symbols": ["AAPL"]}]}, "groups.0.symbols.0: .*'AAPL'"),
        ({"groups": [{**GROUP, "symbols": ["A:B", "A:B"]}]}, "A:B is listed twice"),
        ({"groups": [{**GROUP, "symbols": []}]}, "groups.0.symbols: list at least one"),
        ({"groups": [{"intervals": ["1d"]}]}, "groups.0.symbols: is missing"),
        (
            {"groups": [{**GROUP, "symbols": {}}]},
            "groups.0.symbols: .*expected a list, or the key file, or the keys scanner and interval_s",
        ),
        ({"groups": [{**GROUP, "symbols": {"scaner": {}}}]}, "groups.0.symbols: .*not scaner"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {"limit": 0}}}]}, "groups.0.symbols.scanner.limit"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {"sort": "x"}}}]}, "groups.0.symbols.scanner.sort"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {}, "interval_s": 5}}]}, "groups.0.symbols.interval_s"),
        ({"groups": [{**GROUP, "scanner": {}}]}, "groups.0.scanner"),
        ({"groups": [{**GROUP, "intervals": ["1x"]}]}, "groups.0.intervals.0: .*'1x'"),
        ({"groups": [{**GROUP, "intervals": ["1d", "D"]}]}, "1d is listed twice"),
        ({"groups": [{**GROUP, "intervals": ["100T"]}]}, "not a length of time"),
        ({"groups": [{**GROUP, "intervalls": ["1d"]}]}, "groups.0.intervalls"),
        ({"groups": [{**GROUP, "schedules": {"1h": "* * * * *"}}]}, "1h is not among the intervals"),
        ({"groups": [GROUP, {**GROUP, "name": "more"}]}, "is in both bars and more"),
        ({"groups": [GROUP, {**GROUP, "symbols": ["A:B"]}]}, "the name bars is used twice"),
        (
            {"groups": [{**GROUP, "name": "alerts"}], "alerts": {"rules": [RULE]}},
            "groups.0.name: alerts is what is told",
        ),
        ({"groups": [GROUP], "alerts": {"rules": [RULE, RULE], "webhooks": [WEBHOOK]}}, "the name high"),
        ({"groups": [GROUP], "alerts": {"webhooks": [{"url_env": "https://x"}]}}, "environment variable"),
        ({"groups": [GROUP], "alerts": {"rules": [{**RULE, "kind": "moon"}]}}, "alerts.rules.0.kind"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(WatchlistError, match=words):
        load(tmp_path, content)


@pytest.mark.parametrize(("written", "days"), [("", 30), ("keep_history: 7", 7), ("keep_history: 0", 0)])
def test_history_is_kept_for_some_days(tmp_path: Path, written: str, days: int) -> None:
    content = f"{written}\n{yaml.safe_dump({'groups': [GROUP]})}"
    assert load(tmp_path, content).keep_history == days
    assert Draft202012Validator(Watchlist.model_json_schema()).is_valid(yaml.safe_load(content))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("true", "keep_history: true is no number of days; write e.g. 30, or 0 to delete nothing"),
        ("false", "keep_history: false is no number of days; write e.g. 30, or 0 to delete nothing"),
        ("null", "keep_history: null is no number of days; write e.g. 30, or 0 to delete nothing"),
        ("-1", "keep_history: Input should be greater than or equal to 0, not -1"),
        ("30 days", "keep_history: Input should be a valid integer"),
        ("1.5", "keep_history: Input should be a valid integer"),
    ],
)
def test_days_that_are_no_number_are_a_mistake(tmp_path: Path, written: str, words: str) -> None:
    with pytest.raises(WatchlistError, match=re.escape(f":1:15: {words}")):
        load(tmp_path, f"keep_history: {written}\n{yaml.safe_dump({'groups': [GROUP]})}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchlistError, match=r"nowhere\.yaml: No such file"):
        load_watchlist(tmp_path / "nowhere.yaml")


def test_symbols_may_be_in_a_file_beside_the_watchlist(tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("NASDAQ:AAPL\nNYSE:JNJ\n", encoding="utf-8")
    (group,) = load(tmp_path, "groups: [{symbols: {file: symbols.txt}, intervals: [1d]}]").groups
    assert (group.symbols, group.scanner) == (["NASDAQ:AAPL", "NYSE:JNJ"], None)


def test_all_mistakes_are_named_at_once_with_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("aapl\nA:B\nb\n", encoding="utf-8")
    text = """\
groups:
  - name: a
    symbols: {file: symbols.txt}
    intervals: [1d, 1x]
  - symbols: ["A:B"]
    intervals: [1d]
    schedules:
      1d: 61 * * * *
    initial_bars: 5
    initial_bars: 6
  - symbols: {scanner: {limits: 5}}
    intervals: [100T, 1d, 1D]
    schedule: {}
alert: {}
"""
    with pytest.raises(WatchlistError) as caught:
        load(tmp_path, text)
    head, *lines = str(caught.value).splitlines()
    path = tmp_path / "watchlist.yaml"
    assert head == f"{path}: 9 mistakes"
    known = "name, symbols, intervals"
    for line, (place, words) in zip(
        lines,
        [
            ("3:21", f"groups.0.symbols.file: {tmp_path}/symbols.txt:1:1: symbol 'aapl': expected EXCHANGE:TICKER"),
            ("3:21", f"groups.0.symbols.file: {tmp_path}/symbols.txt:3:1: symbol 'b'"),
            ("4:21", "groups.0.intervals.1: interval '1x': expected e.g. 1m 5m"),
            ("8:11", "groups.1.schedules.1d: '61 * * * *': '61' is not a valid minute: expected 0 to 59"),
            ("10:5", "initial_bars: the key is already on line 9"),
            ("11:25", "groups.2.symbols.scanner.limits: is not a known key; did you mean limit?"),
            ("12:17", "groups.2.intervals.0: 100t is not a length of time"),
            ("13:5", f"groups.2.schedule: is not a known key; did you mean schedules? known keys: {known}"),
            ("14:1", "alert: is not a known key; did you mean alerts? known keys: groups, alerts"),
        ],
        strict=True,
    ):
        assert line.startswith(f"{path}:{place}: {words}")


def test_every_mistake_of_a_rule_is_named_with_line_and_column(tmp_path: Path) -> None:
    text = """\
groups: [{name: us, symbols: ["A:B"], intervals: [1d]}]
alerts:
  rules:
    - {name: a, symbol: "A:B", kind: moon, level: 1}
    - {name: b, symbol: "A:B", level: 1}
    - {name: c, symbols: ["A:B", b, "A:B"], kind: above, level: 1}
    - {name: d, symbols: {grup: us}, kind: above, level: 1}
    - {name: e, symbols: {group: eu}, kind: above, level: 1}
    - {name: f, kind: above, level: 1}
    - {name: g, symbol: "A:B", symbols: ["A:B"], kind: above, level: 1}
    - name: h
      symbol: A:B
      kind: cross_up
      level: hi(20)
      cooldown: 15
      on: closing
      for: 90
      tags: [x, A]
      severity: bad
      active: {hours: 9-17, zone: UTC}
      message: "{prise}"
      run: {}
    - {name: i, symbol: "A:B", kind: exit_channel, low: 2, high: 1}
    - {name: j, symbol: "A:B", kind: exit_channel, low: 1, high: 2, hysteresis: 1}
    - {name: k, symbol: "A:B", kind: cross_up, level: high(5)}
    - {name: l, symbol: "A:B", kind: cross_up, level: 5, on: close}
    - {name: m, symbol: "A:B", kind: cross_up, level: 5, for: 10m}
    - {name: n, symbol: "A:B", kind: cross_up, level: 5, on: close, interval: 1h, for: 90m}
    - {name: o, symbol: "A:B", all: [{kind: cross, level: 1}, {kind: above, levl: 2}], interval: 1d}
    - {name: p, symbol: "A:B", all: [{kind: above, level: 2}], interval: 1d}
    - {name: q, symbol: "A:B", kind: day_volume, volume: 5, interval: 1h}
    - {name: r, symbol: "A:B", kind: day_volume, volume: 5, active: {hours: 10:00-11:00}}
    - {name: s, symbol: "A:B", kind: pct_day, pct: 0}
    - {name: t, symbol: "A:B", kind: above, level: 1, cooldown: 1m, cooldown_s: 60}
    - {name: u, symbol: "A:B", kind: bar_volume, volume: 5, interval: 10s}
    - rule
"""
    with pytest.raises(WatchlistError) as caught:
        load(tmp_path, text)
    path = tmp_path / "watchlist.yaml"
    kinds = "expected above, below, cross_up, cross_down, cross, enter_channel, exit_channel, pct_day, pct_window"
    for line, (place, words) in zip(
        str(caught.value).splitlines()[1:],
        [
            ("4:38", f"alerts.rules.0.kind: {kinds}"),
            ("5:7", "alerts.rules.1.kind: is missing"),
            ("6:34", "alerts.rules.2.symbols.1: symbol 'b': expected EXCHANGE:TICKER"),
            ("7:26", "alerts.rules.3.symbols: expected a list, or the key group, not grup"),
            ("9:7", "alerts.rules.5: write symbol: EXCHANGE:TICKER, or symbols: a list or {group: name}"),
            ("10:41", "alerts.rules.6.symbols: write symbol or symbols, one of the two"),
            ("14:14", "alerts.rules.7.level: expected a number, prev_close, last_alert, high(n)"),
            ("15:17", "alerts.rules.7.cooldown: expected a duration such as 90s, 15m, 2h or 1d, not 15"),
            ("16:11", "alerts.rules.7.on: Input should be 'touch' or 'close', not 'closing'"),
            ("17:12", "alerts.rules.7.for: expected a duration"),
            ("18:17", "alerts.rules.7.tags.1: expected 1 to 64 characters of a-z 0-9 _ -"),
            ("19:17", "alerts.rules.7.severity: Input should be 'info', 'warning', 'error' or 'critical'"),
            ("20:23", "alerts.rules.7.active.hours.0: '9-17': expected hours such as 09:30-16:00"),
            (
                "20:29",
                "alerts.rules.7.active.zone: is not a known key; did you mean timezone? known keys: hours,",
            ),
            ("21:16", "alerts.rules.7.message: {prise} is no field of an alert; known fields: event_id, rule"),
            ("22:12", "alerts.rules.7.run: name a job or assets, one of the two"),
            ("23:66", "alerts.rules.8.high: 1 is not above low, 2"),
            ("24:81", "alerts.rules.9.hysteresis: no close is so far inside the channel"),
            ("25:7", "alerts.rules.10: write interval as well, e.g. 1d: of which bars is the level?"),
            ("26:62", "alerts.rules.11.on: of which bars? write interval as well, e.g. 1h or 1d"),
            ("27:63", "alerts.rules.12.for: it counts closes: write on: close as well"),
            ("28:88", "alerts.rules.13.for: 90m is not a multiple of the interval, 1h"),
            ("29:45", "alerts.rules.14.all.0.kind: expected above, below, enter_channel, exit_channel"),
            ("29:63", "alerts.rules.14.all.1.level: is missing"),
            ("29:77", "alerts.rules.14.all.1.levl: is not a known key; did you mean level? known keys: level, kind"),
            ("30:37", "alerts.rules.15.all: List should have at least 2 items"),
            ("31:61", "alerts.rules.16.interval: is not a known key"),
            ("32:69", "alerts.rules.17.active: a day's volume has no hour"),
            ("33:52", "alerts.rules.18.pct: expected a percentage above -100 that is not 0"),
            ("34:81", "alerts.rules.19.cooldown_s: write cooldown or cooldown_s, one of the two"),
            ("35:71", "alerts.rules.20.interval: 10s: alerts look at minutes and wider bars"),
            ("36:7", "alerts.rules.21: expected a mapping, not 'rule'"),
        ],
        strict=True,
    ):
        assert line.startswith(f"{path}:{place}: {words}")


def test_a_rule_for_a_group_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    text = """\
groups: [{name: us, symbols: ["A:B"], intervals: [1d]}]
alerts:
  rules:
    - {name: e, symbols: {group: eu}, kind: above, level: 1}
"""
    with pytest.raises(WatchlistError, match=r"4:34: alerts.rules.0.symbols.group: eu is no group; known groups: us"):
        load(tmp_path, text)


ANY_RULE = {"name": "r", "symbol": "A:B"}


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "above", "level": 1}, {"kind": "cross", "level": "prev_close"}, {"kind": "pct_day", "pct": 5},
        {"kind": "above", "level": {"of": "high(20)", "pct": 1}, "interval": "1d"},
        {"kind": "enter_channel", "low": 1, "high": "sma(5)", "interval": "1h"}, {"kind": "day_volume", "volume": 5},
        {"kind": "volume_ratio", "ratio": 2, "interval": "1h", "for": "2h", "run": "job", "cooldown": "0s"},
        {"all": [{"kind": "above", "level": 1}, {"kind": "pct_window", "pct": 1, "bars": 3}], "interval": "1d"},
    ],
)  # fmt: skip
def test_the_json_schema_knows_every_kind_of_rule(rule: dict[str, Any]) -> None:
    content = {"groups": [GROUP], "alerts": {"rules": [ANY_RULE | rule]}}
    assert Watchlist.model_validate(content).alerts.rules
    validator = Draft202012Validator(Watchlist.model_json_schema())
    assert list(validator.iter_errors(content)) == []
    wrong = {"groups": [GROUP], "alerts": {"rules": [ANY_RULE | rule | {"levl": 1}]}}
    assert list(validator.iter_errors(wrong))


def test_a_repeated_key_is_a_mistake_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(WatchlistError, match=r"watchlist.yaml:3:5: intervals: the key is already on line 2"):
        load(tmp_path, "groups:\n  - intervals: [1d]\n    intervals: [1h]\n    symbols: ['A:B']\n")


def test_a_second_document_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(WatchlistError, match=r"watchlist.yaml:3:1: a second document"):
        load(tmp_path, "groups: [{symbols: ['A:B'], intervals: [1d]}]\n---\na: 1\n")


def test_python_code_may_make_a_group_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "symbols.csv"
    path.write_text("symbol\nA:B\n", encoding="utf-8")
    group = Group.model_validate({"symbols": {"file": str(path)}, "intervals": ["1d"]})
    assert group.symbols == ["A:B"]


@pytest.mark.parametrize("content", [GROUP, {**GROUP, "symbols": {"file": "a.txt"}}, {**GROUP, "intervals": [60]}])
def test_the_json_schema_knows_every_form(content: dict[str, Any]) -> None:
    validator = Draft202012Validator(Watchlist.model_json_schema())
    assert list(validator.iter_errors({"groups": [content]})) == []
    assert list(validator.iter_errors({"groups": [{**content, "symbols": {"fill": "a.txt"}}]}))


def test_a_long_list_of_symbols_costs_little_more_than_its_length() -> None:
    def read(count: int) -> float:
        symbols = [f"X:S{number}" for number in range(count)]
        return cpu_ratio(lambda: Group(symbols=symbols, intervals=["1d"]))

    assert read(40_000) < 40 * max(read(4_000), 1.0)


def test_every_repetition_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="X:A is listed twice") as caught:
        Group(symbols=["X:A", "X:B", "X:A", "X:A"], intervals=["1d"])
    assert str(caught.value).count("is listed twice") == 2


def test_the_mistakes_of_targets_are_named_with_line_and_column(tmp_path: Path) -> None:
    text = """\
groups: [{symbols: ["A:B"], intervals: [1d]}]
alerts:
  targets:
    - type: slak
      url_env: HOOK
    - {url_env: HOOK}
    - words
    - type: slack
      url_envv: HOOK
    - {type: telegram, token_env: secret-token, chat_id: here}
    - {type: ntfy, topic_env: TOPIC, url: "http://10.0.0.1"}
    - {type: webhook, url_env: HOOK, body: {text: "{symbl}"}, headers: {Host: a}}
    - {type: email, host: h, sender: a@b, to: [a@b], user: x, severity: [loud]}
"""
    with pytest.raises(WatchlistError) as caught:
        load(tmp_path, text)
    _, *lines = str(caught.value).splitlines()
    types = "webhook, slack, discord, telegram, ntfy, pagerduty, email, apprise"
    right = "write e.g. TV_ETL_WEBHOOK_URL"
    expected = [
        ("4:13", f"0.type: expected {types}, not 'slak'"),
        ("6:7", "1.type: is missing"),
        ("7:7", "2: expected a mapping, not 'words'"),
        ("8:7", "3.url_env: is missing"),
        ("9:7", "3.url_envv: is not a known key; did you mean url_env? known keys: name, severity, tags, groups,"),
        ("10:35", f"4.token_env: 'secret-token' is not the name of an environment variable; {right}"),
        ("10:58", "4.chat_id: expected the number of a chat, such as -1001234567890, or @channel"),
        ("11:43", "5.url: expected https:// (or allow_private, on your own network)"),
        ("12:44", "6.body: {symbl} is no field of an alert; known fields: event_id, rule, symbol,"),
        ("12:73", "6.headers.Host.[key]: the header Host is written by tv_etl itself"),
        ("13:74", "7.severity.0: Input should be 'info', 'warning', 'error' or 'critical', not 'loud'"),
    ]
    for line, (place, words) in zip(lines, expected, strict=True):
        assert line.startswith(f"{tmp_path / 'watchlist.yaml'}:{place}: alerts.targets.{words}"), line


def test_no_two_targets_are_called_the_same(tmp_path: Path) -> None:
    text = """\
groups: [{symbols: ["A:B"], intervals: [1d]}]
alerts:
  targets:
    - {type: slack, url_env: HOOK}
    - {type: discord, url_env: HOOK}
    - {type: discord, url_env: HOOK, name: other}
  webhooks:
    - {url_env: HOOK}
"""
    with pytest.raises(WatchlistError) as caught:
        load(tmp_path, text)
    _, *lines = str(caught.value).splitlines()
    assert [line.partition("watchlist.yaml:")[2].partition(" ")[0] for line in lines] == ["5:7:", "8:17:"]
    assert all("two targets are called HOOK; give one of them another `name`" in line for line in lines)


def test_the_earlier_form_of_targets_is_still_read(tmp_path: Path) -> None:
    text = """\
groups: [{symbols: ["A:B"], intervals: [1d]}]
alerts:
  webhooks: [{url_env: HOOK, allow_private: true}, {url_env: CHAT, kind: slack}]
"""
    assert [(each.key, each.allow_private) for each in load(tmp_path, text).alerts.all_targets] == [
        ("json HOOK", True),
        ("slack CHAT", False),
    ]
