"""What Dagster shows of a series, whatever became of it."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from tv_etl.collect.ask import Ask, backfill, increment
from tv_etl.collect.collection import Stored, Unchanged, carry_out, plan
from tv_etl.lake.store import BarStore
from tv_etl.orchestration.bar_metadata import Metadata, facts_in, page_metadata, stored_metadata, unchanged_metadata
from tv_etl_tests.collect.served_market import PLAIN, SERIES, SETTINGS, SPLIT, ServedMarket, at, second, table

NOW = second(1_000) + 1


def seen(metadata: Metadata) -> dict[str, Any]:
    return facts_in(dg.AssetMaterialization("bars", metadata=metadata))


def test_a_commit_and_what_is_known_show_the_same_series(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    hours = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})
    store.upsert(*SERIES, table(PLAIN[700:900], asked_from=second(700), asked_until=second(900), trading_hours=hours))
    [asked] = (each for each in plan(store, [(SERIES, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask))
    answer = ServedMarket(SPLIT).answer(asked.request)
    *_, done = carry_out(store, [asked], ServedMarket(SPLIT).fetch, newest=48)
    assert isinstance(done, Stored)
    facts = {"fetch.requests": "2", "fetch.seconds": "0.25"}
    answer = done.answer.replace_schema_metadata({**done.answer.schema.metadata, **facts})
    shown = seen(stored_metadata(Stored(SERIES, answer, done.commit), NOW, "all is well"))
    assert (shown["rows added"], shown["rows revised"], shown["rows in overlap"], shown["requests"]) == (100, 0, 200, 2)
    assert (shown["seconds to fetch"], shown["reach"]) == (0.25, "complete")
    assert shown["re-adjusted"] == str(done.commit.readjustment)
    [known] = plan(store, [(SERIES, backfill(SETTINGS, at(800), at(900)))], NOW, newest=48)
    assert isinstance(known, Unchanged)
    unchanged = seen(unchanged_metadata(known, NOW, "all is well"))
    assert (unchanged["rows added"], unchanged["requests"]) == (0, 0)
    same = ["dagster/partition_row_count", "verdict", "completeness", "gaps", "first bar", "last bar"]
    assert {name: unchanged[name] for name in same} == {name: shown[name] for name in same}
    assert (shown["dagster/partition_row_count"], shown["completeness"], shown["gaps"]) == (300, 1.0, 0)


def test_a_new_name_is_shown(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for name, shown in ((SERIES.symbol, None), ("NASDAQ:NEWN", "NASDAQ:NEWN")):
        store.upsert(*SERIES, table(PLAIN[:9], resolved_as=name))
        [known] = plan(store, [(SERIES, lambda stored, now: None)], NOW)
        assert isinstance(known, Unchanged)
        assert seen(unchanged_metadata(known, NOW, "")).get("renamed to") == shown


def test_without_bars_there_is_no_picture(tmp_path: Path) -> None:
    [known] = plan(BarStore(tmp_path), [(SERIES, lambda stored, now: None)], NOW, newest=48)
    assert isinstance(known, Unchanged)
    shown = seen(unchanged_metadata(known, NOW, ""))
    assert not shown.keys() & {"first bar", "gaps"}
    assert page_metadata(known.newest, "file:///lake") == {"dagster/uri": "file:///lake"}
    assert (shown["completeness"], shown["loss deadline"]) == ("unknown", "none")
