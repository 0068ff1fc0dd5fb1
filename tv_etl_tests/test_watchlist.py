"""A watchlist says what to collect; a mistake in it is named with its place."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from tv_etl.tradingview.scanner import ScanFilter, ScanRequest, ScanSort
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl.watchlist import Group, LossWarning, Watchlist, WatchlistError, load_watchlist

GROUP = {"symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}
RULE = {"name": "high", "symbol": "NASDAQ:AAPL", "kind": "above", "level": 200}
WEBHOOK = {"url_env": "TV_ETL_WEBHOOK_URL"}


def load(tmp_path: Path, content: Any) -> Watchlist:
    path = tmp_path / "watchlist.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return load_watchlist(path)


def test_the_default_watchlist_loads() -> None:
    watchlist = load_watchlist(Path(__file__).parent.parent / "watchlist.yaml")
    assert watchlist.groups[0].name == "bars"
    assert watchlist.alerts.rules


def test_intervals_are_read_in_either_spelling_and_as_yaml_numbers(tmp_path: Path) -> None:
    watchlist = load(tmp_path, "groups: [{symbols: ['A:B'], intervals: [1, 60, 1D, 1M, 5m]}]")
    assert watchlist.groups[0].intervals == ["1m", "1h", "1d", "1mo", "5m"]


def test_every_interval_has_a_schedule_unless_it_is_refused() -> None:
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


def test_a_scanner_may_stand_where_symbols_are_listed(tmp_path: Path) -> None:
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
        ({}, "groups: Field required"),
        ({"groups": []}, "groups"),
        ({"groups": [{**GROUP, "symbols": ["AAPL"]}]}, "groups.0.symbols.0: .*'AAPL'"),
        ({"groups": [{**GROUP, "symbols": ["A:B", "A:B"]}]}, "A:B stands there twice"),
        ({"groups": [{**GROUP, "symbols": []}]}, "groups.0: .*name at least one"),
        ({"groups": [{"intervals": ["1d"]}]}, "groups.0.symbols: Field required"),
        ({"groups": [{**GROUP, "symbols": {}}]}, "groups.0.symbols: .*expected a list, or scanner"),
        ({"groups": [{**GROUP, "symbols": {"scaner": {}}}]}, "groups.0.symbols: .*not scaner"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {"limit": 0}}}]}, "groups.0.symbols.scanner.limit"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {"sort": "x"}}}]}, "groups.0.symbols.scanner.sort"),
        ({"groups": [{**GROUP, "symbols": {"scanner": {}, "interval_s": 5}}]}, "groups.0.symbols.interval_s"),
        ({"groups": [{**GROUP, "scanner": {}}]}, "groups.0.scanner"),
        ({"groups": [{**GROUP, "intervals": ["1x"]}]}, "groups.0.intervals.0: .*'1x'"),
        ({"groups": [{**GROUP, "intervals": ["1d", "D"]}]}, "1d stands there twice"),
        ({"groups": [{**GROUP, "intervals": ["100T"]}]}, "no width in time"),
        ({"groups": [{**GROUP, "intervalls": ["1d"]}]}, "groups.0.intervalls"),
        ({"groups": [{**GROUP, "schedules": {"1h": "* * * * *"}}]}, "1h is not among the intervals"),
        ({"groups": [GROUP, {**GROUP, "name": "more"}]}, "stands in bars and in more"),
        ({"groups": [GROUP, {**GROUP, "symbols": ["A:B"]}]}, "the name bars stands there twice"),
        ({"groups": [GROUP], "alerts": {"rules": [RULE]}}, "nobody to tell"),
        ({"groups": [GROUP], "alerts": {"rules": [RULE, RULE], "webhooks": [WEBHOOK]}}, "the name high"),
        ({"groups": [GROUP], "alerts": {"webhooks": [{"url_env": "https://x"}]}}, "environment variable"),
        ({"groups": [GROUP], "alerts": {"rules": [{**RULE, "kind": "moon"}]}}, "alerts.rules.0.kind"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(WatchlistError, match=words):
        load(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchlistError, match=r"nowhere\.yaml: No such file"):
        load_watchlist(tmp_path / "nowhere.yaml")
