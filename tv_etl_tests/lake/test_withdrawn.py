"""What the server has no more is told, and counts once."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa

from tv_etl.lake.chronicle import chronicle
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

MONDAY = datetime(2026, 11, 16, tzinfo=timezone.utc)


class Lake:
    """A store whose clock goes on by a minute with each commit."""

    def __init__(self, base: str | Path, interval: str) -> None:
        self.series = Series("X:Y", Interval.parse(interval))
        self.now = (MONDAY + timedelta(days=30)).timestamp()
        self.store = BarStore(base, clock=lambda: self.now)

    def commit(self, opens: list[datetime], price: float = 10.0) -> datetime:
        """Store an answer that vouches for all from its first bar to the width of its last one."""
        self.now += 60
        width = timedelta(seconds=self.series.interval.seconds)
        facts = {"forming_from": "", "asked_from": f"{opens[0].timestamp():.0f}"}
        facts["asked_until"] = f"{(opens[-1] + width).timestamp():.0f}"
        rows = [dict(zip(BAR_SCHEMA.names, (each, *[price] * 4, 100.0), strict=True)) for each in opens]
        schema = BAR_SCHEMA.with_metadata({f"tv_etl.{name}": text for name, text in facts.items()})
        self.store.upsert(*self.series, pa.Table.from_pylist(rows, schema=schema))
        return datetime.fromtimestamp(self.now, timezone.utc)

    def opens(self, as_of: datetime | None = None) -> list[datetime]:
        found: list[datetime] = self.store.read(*self.series, as_of=as_of)["timestamp"].to_pylist()
        return found


def minutes(*numbers: int) -> list[datetime]:
    return [MONDAY + timedelta(minutes=number) for number in numbers]


def test_a_bar_that_comes_no_more_stays_and_is_counted(base: str) -> None:
    lake = Lake(base, "1m")
    lake.commit(minutes(*range(10)))
    for _ in range(2):
        lake.commit(minutes(*range(4), *range(5, 10)))
        assert lake.opens() == minutes(*range(10)), "nothing that is served takes its place"
        assert lake.store.record(*lake.series).withdrawn == 1
        [row] = lake.store.withdrawn(*lake.series).to_pylist()
        assert (row["timestamp"], row["close"], row["has_left"], row["returned_at"]) == (
            minutes(4)[0],
            10.0,
            False,
            None,
        )
    back = lake.commit(minutes(*range(10)))
    assert lake.store.record(*lake.series).withdrawn == 0
    assert lake.store.withdrawn(*lake.series)["returned_at"].to_pylist() == [back]
    lake.commit(minutes(0, 1, 2, *range(4, 10)))
    assert lake.store.record(*lake.series).withdrawn == 1
    assert lake.store.withdrawn(*lake.series).num_rows == 2


def test_an_answer_says_nothing_of_what_it_does_not_vouch_for(base: str) -> None:
    lake = Lake(base, "1m")
    lake.commit(minutes(*range(10)))
    lake.commit(minutes(5, 6))
    assert lake.store.record(*lake.series).withdrawn == 0


def test_bars_that_were_anchored_anew_are_not_counted_twice(base: str) -> None:
    lake = Lake(base, "4h")
    at_midnight = [MONDAY + timedelta(hours=4 * number) for number in range(4)]
    at_one = [MONDAY + timedelta(hours=1 + 4 * number) for number in range(-1, 4)]
    first = lake.commit(at_midnight)
    second = lake.commit(at_one)
    assert lake.opens() == at_one, "four bars, not eight rows and twice the volume"
    record = lake.store.record(*lake.series)
    assert (record.rows, record.withdrawn) == (5, 4)
    assert lake.store.withdrawn(*lake.series)["has_left"].to_pylist() == [True] * 4
    assert lake.opens(as_of=first) == at_midnight, "as it was known then"
    assert lake.opens(as_of=second) == at_one
    third = lake.commit([MONDAY - timedelta(hours=4), *at_midnight])
    assert lake.opens(as_of=third) == [MONDAY - timedelta(hours=4), *at_midnight]
    assert lake.store.record(*lake.series).withdrawn == 5
    assert lake.opens(as_of=first) == at_midnight and lake.opens(as_of=second) == at_one


def test_days_that_differ_in_length_do_not_overlap(base: str) -> None:
    lake = Lake(base, "1d")
    # The clocks change: 23 hours between two opens.
    days = [MONDAY, MONDAY + timedelta(hours=23), MONDAY + timedelta(hours=47)]
    lake.commit(days)
    lake.commit([days[0], days[2]])
    assert lake.opens() == days
    assert lake.store.record(*lake.series).withdrawn == 1


def test_they_are_shown_by_time(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "1m")
    lake.commit(minutes(*range(10)))
    lake.commit(minutes(*range(4), *range(5, 10)))
    now = datetime.fromtimestamp(lake.now, timezone.utc)
    [entry] = (each for each in chronicle(lake.store, lake.series, now).entries if each.kind == "withdrawn")
    assert (entry.start, entry.bars, entry.text) == (minutes(4)[0], 1, "the server has it no more; still stored")
