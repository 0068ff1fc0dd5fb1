"""A series is read as it was known at any moment since that is on record, and never otherwise."""

import math
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tv_etl.lake.errors import AsOfError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.lake_files import files_of

AAPL = "NASDAQ:AAPL"
NOVEMBER = datetime(2026, 11, 1, tzinfo=timezone.utc)
START = int(NOVEMBER.timestamp()) - 30 * 60  # bars lie in two files
COUNT = 120


class Lake:
    """A store whose clock the test moves, and the market that it follows."""

    def __init__(self, base: str | Path) -> None:
        self.now = float(START + 86_400)
        self.store = BarStore(base, clock=lambda: self.now)
        self.ratio = 1.0
        self.corrected: dict[int, float] = {}

    def bars(self, first: int, after: int) -> pa.Table:
        rows = []
        for number in range(first, after):
            close = 100.0 + number * 7 % 41 + self.corrected.get(number, 0.0)
            prices = [round(each * self.ratio, 4) for each in (close - 1.0, close + 1.0, close - 2.0, close)]
            volume = None if number % 17 == 0 else (1_000.0 + number) / self.ratio
            moment = datetime.fromtimestamp(START + 60 * number, timezone.utc)
            rows.append(dict(zip(BAR_SCHEMA.names, (moment, *prices, volume), strict=True)))
        return pa.Table.from_pylist(rows, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))

    def commit(self, first: int, after: int, later_s: float = 60.0) -> datetime:
        """Store some bars of the market; when that was."""
        self.now += later_s
        self.store.upsert(AAPL, "1m", self.bars(first, after))
        return datetime.fromtimestamp(self.now, timezone.utc)

    def read(self, as_of: datetime | None = None) -> pa.Table:
        return self.store.read(AAPL, "1m", as_of=as_of)


def test_what_came_later_is_not_known(base: str) -> None:
    lake = Lake(base)
    first, second, third = lake.commit(50, 90), lake.commit(85, 100), lake.commit(10, 60)
    assert lake.read(first - timedelta(seconds=1)).num_rows == 0
    assert lake.read(first).equals(lake.bars(50, 90).replace_schema_metadata(None))
    assert lake.read(second).equals(lake.bars(50, 100).replace_schema_metadata(None))
    assert lake.read(third).equals(lake.read())
    assert lake.read(third - timedelta(microseconds=1)).equals(lake.read(second))
    moment = datetime.fromtimestamp(START + 60 * 80, timezone.utc)
    part = lake.store.read(AAPL, "1m", moment, moment + timedelta(minutes=30), as_of=first)
    assert part["timestamp"].to_pylist() == lake.bars(80, 90)["timestamp"].to_pylist()


def test_what_was_replaced_later_is_what_it_was(base: str) -> None:
    lake = Lake(base)
    lake.commit(0, 100)
    before = lake.read()
    lake.corrected[60] = 0.5
    revised = lake.commit(50, 105)
    after = lake.read()
    lake.ratio = 1 / 3  # no rounded price can be turned back
    split = lake.commit(0, 110)
    lake.corrected[60] = 0.9
    again = lake.commit(40, 110)
    assert lake.read(revised - timedelta(seconds=1)).equals(before)
    assert lake.read(revised).equals(after)
    assert lake.read(split)["close"].to_pylist()[60] == round((100.0 + 60 * 7 % 41 + 0.5) / 3, 4)
    assert lake.read(again).equals(lake.read())
    assert lake.store.record(AAPL, "1m").logged_from == -math.inf


STEPS = st.tuples(
    st.sampled_from(["commit", "commit", "correct", "split"]),
    st.integers(0, COUNT - 10),
    st.integers(5, 60),
    st.sampled_from([0.25, 1.0, 3_600.0]),
)


@settings(max_examples=40)
@given(st.lists(STEPS, min_size=1, max_size=10))
def test_every_state_there_was_is_read_again(steps: list[tuple[str, int, int, float]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        lake = Lake(directory)
        states = [(datetime.fromtimestamp(lake.now, timezone.utc), lake.read())]
        reach = 0
        for kind, first, length, later_s in steps:
            if kind == "correct":
                lake.corrected[first] = lake.corrected.get(first, 0.0) + 0.25
            elif kind == "split":
                lake.ratio *= 0.5
            # Up to what is stored, as an answer comes.
            reach = max(reach, first + length)
            moment = lake.commit(0 if kind == "split" else first, reach, later_s)
            states.append((moment, lake.read()))
        for moment, state in states:
            assert lake.read(moment).equals(state)


def test_a_lake_from_before_says_from_when_on_it_knows(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "recordings" / "lake-v1", tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    then = datetime.fromtimestamp(lake.now, timezone.utc)
    with pytest.raises(AsOfError, match="what came when was not logged before the next commit, or its log was lost"):
        lake.read(then)
    old = lake.read()
    first = lake.commit(100, 101)
    with pytest.raises(AsOfError, match=rf"begins at {first.isoformat().replace('+', '.')}$") as caught:
        lake.read(first - timedelta(microseconds=1))
    assert caught.value.known_from == first.timestamp()
    assert lake.read(first).num_rows == old.num_rows + 1
    second = lake.commit(101, 102)
    assert lake.read(first).num_rows == old.num_rows + 1
    assert lake.read(second).num_rows == old.num_rows + 2


@pytest.mark.parametrize(
    "damaged", ["ohlcv/interval=1m/symbol=NASDAQ%3AAAPL/2026-10.parquet", "revisions", "readjusted-1"]
)
def test_what_was_lost_with_a_file_is_not_made_up(base: str, damaged: str) -> None:
    lake = Lake(base)
    before = lake.commit(0, 60)
    lake.corrected[50] = 1.0
    lake.commit(0, 70)
    lake.ratio = 0.5
    lake.commit(0, 80)
    name = damaged if "/" in damaged else f".tv_etl/1m/NASDAQ%3AAAPL/{damaged}.parquet"
    assert name in files_of(lake.store).names()
    files_of(lake.store).write(name, b"no Parquet")
    lake.now += 60
    assert len(lake.store.set_aside_damaged(AAPL, "1m")) == 1
    with pytest.raises(AsOfError):
        lake.read(before)
    after = lake.commit(0, 90)
    with pytest.raises(AsOfError):
        lake.read(before)
    assert lake.read(after).num_rows == 90


@pytest.mark.parametrize("name", ["revisions", "readjusted-1"])
def test_a_log_that_somebody_took_away_is_missed(base: str, name: str) -> None:
    lake = Lake(base)
    before = lake.commit(0, 60)
    lake.corrected[30] = 1.0
    lake.commit(0, 60)
    lake.ratio = 0.5
    split = lake.commit(0, 70)
    files_of(lake.store).remove(f".tv_etl/1m/NASDAQ%3AAAPL/{name}.parquet")
    with pytest.raises(AsOfError):
        lake.read(before)
    if name == "readjusted-1":
        assert lake.read(split).num_rows == 70


def test_a_moment_needs_a_zone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Lake(tmp_path).read(datetime(2026, 11, 1))
