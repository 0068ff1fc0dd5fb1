"""What is counted of the series of a lake, and where."""

from datetime import timedelta
from pathlib import Path

from tv_etl.lake.glance import Glance, Listed, glances, total
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.series import Series
from tv_etl_tests.collect.served_market import PLAIN
from tv_etl_tests.conftest import NOW
from tv_etl_tests.lake.test_crossing import OTHER, answer
from tv_etl_tests.lake.test_status import stored

MINUTE = timedelta(minutes=1)
AN_HOUR_AGO = NOW.timestamp() - 3_600


def test_each_series_counts_where_it_is_listed(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    stored(store, "X:GOOD", [NOW - MINUTE], NOW)
    stored(store, "X:LATE", [NOW - 70 * MINUTE, NOW - 65 * MINUTE], NOW - 64 * MINUTE)
    stored(store, "X:OTHER", [NOW - MINUTE], NOW)
    store.refuse("X:NOPE", "1m", "SymbolError: unknown", NOW.timestamp())
    stored(store, "X:BAD", [NOW - MINUTE], NOW)
    (tmp_path / ".tv_etl" / "1m" / "X%3ABAD" / "series.json").write_text("{}", encoding="utf-8")
    names = ("X:GOOD", "X:LATE", "X:NOPE", "X:BAD", "X:NEVER")
    listed = {Series.of(name, "1m"): Listed("us", AN_HOUR_AGO) for name in names}
    listed[Series.of("X:GOOD", "1d")] = Listed("us", AN_HOUR_AGO)
    us_minutes, us_days, others = glances(lake_status(store, NOW), NOW, listed)
    size = {name: store.record(name, "1m").stored_bytes for name in ("X:GOOD", "X:LATE", "X:OTHER")}
    assert us_minutes == Glance(
        "us", "1m", series=2, missing=1, bars=3, bytes=size["X:GOOD"] + size["X:LATE"],
        first=(NOW - 70 * MINUTE).replace(microsecond=0), newest=(NOW - MINUTE).replace(microsecond=0),
        overdue=1, gaps=1, refused=1, damaged=1, loss_deadline=us_minutes.loss_deadline,
    )  # fmt: skip
    late = next(each for each in lake_status(store, NOW) if each.series.symbol == "X:LATE")
    assert us_minutes.loss_deadline == late.loss_deadline
    assert us_minutes.trouble == "1 damaged, 1 overdue, 1 refused, 1 never stored"
    assert us_days == Glance("us", "1d", missing=1)
    assert (others.group, others.interval, others.series, others.trouble) == ("", "1m", 1, "")
    everything = total([us_minutes, us_days, others])
    assert (everything.series, everything.missing, everything.bars, everything.interval) == (3, 2, 4, "")
    assert everything.bytes == sum(size.values())


def test_overdue_is_what_should_have_been_asked_for(tmp_path: Path) -> None:
    stored(BarStore(tmp_path), "X:Y", [NOW - 30 * MINUTE], NOW - 29 * MINUTE)
    statuses = lake_status(BarStore(tmp_path), NOW)
    assert [each.overdue for each in glances(statuses, NOW)] == [0], "by default within an hour"
    by_schedule = {Series.of("X:Y", "1m"): Listed("us", NOW.timestamp() - 600)}
    assert [each.overdue for each in glances(statuses, NOW, by_schedule)] == [1]


def test_a_seam_is_trouble(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    answer(store, PLAIN[:100])
    answer(store, OTHER[200:300])
    [glance] = glances(lake_status(store, NOW), NOW)
    assert glance.seams == 1
    assert glance.trouble.startswith("1 with a seam")


def test_an_empty_lake_is_nothing(tmp_path: Path) -> None:
    assert glances(lake_status(BarStore(tmp_path), NOW), NOW) == []
    assert total([]) == Glance()
