"""A seam is resolved in one of three ways, and whatever is done leaves the lake as if it had always been so."""

import json
from datetime import timedelta

import pytest

from tv_etl.collect.ask import Ask, increment
from tv_etl.collect.collection import Stored, carry_out, plan
from tv_etl.lake.coverage import Coverage
from tv_etl.lake.errors import AsOfError, NoSeamError
from tv_etl.lake.resolution import Resolution
from tv_etl.lake.store import BarStore
from tv_etl.lake.upsert import Commit
from tv_etl_tests.collect.served_market import (
    COUNT,
    PLAIN,
    SERIES,
    SETTINGS,
    SPLIT,
    Rows,
    ServedMarket,
    at,
    enter,
    second,
    table,
)
from tv_etl_tests.lake_files import files_of

HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})
NOW = second(COUNT)
# Bars of October and November: 2026-11-12 is the day of the market, so the older stretch lies a month before.
OLDER = [(row[0] - 30 * 86_400, *row[1:]) for row in PLAIN[:50]]


def stored(store: BarStore) -> Rows:
    rows = store.read(*SERIES).to_pylist()
    return [(row["timestamp"].timestamp(), *list(row.values())[1:]) for row in rows]


def after_a_pause(base: str, market: Rows = SPLIT) -> tuple[BarStore, Commit]:
    """Bars of a month before, then bars 100 to 299; the server has the last 200 only."""
    store = BarStore(base, clock=lambda: float(NOW))
    asked = {"asked_from": int(OLDER[0][0]), "asked_until": second(300)}
    store.upsert(*SERIES, table([*OLDER, *PLAIN[100:300]], trading_hours=HOURS, **asked))
    [asks] = (each for each in plan(store, [(SERIES, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask))
    *_, done = carry_out(store, [asks], ServedMarket(market, window=200).fetch)
    assert isinstance(done, Stored), done
    return store, done.commit


def test_a_pause_longer_than_the_window_leaves_a_seam(base: str) -> None:
    store, commit = after_a_pause(base)
    seam = commit.seam
    assert seam is not None
    assert (seam.at, seam.reason) == (second(800), "no bar is both stored and served")
    assert (seam.older, seam.newer) == ((second(299), PLAIN[299][4]), (second(800), SPLIT[800][4]))
    assert stored(store) == [*OLDER, *PLAIN[100:300], *SPLIT[800:]], "nothing is scaled on doubt"
    record = store.record(*SERIES)
    assert (record.open_seam, record.gaps, record.ratio) == (seam, 0, 1.0), "what counts begins at the seam"
    assert Coverage(record, NOW).unasked() == []


def test_what_comes_later_joins_the_newer_side_and_leaves_the_older_alone(base: str) -> None:
    store, _ = after_a_pause(base, PLAIN)
    halved = [(row[0], *(price * 0.5 for price in row[1:5]), row[5] * 2) for row in PLAIN]
    [asks] = (each for each in plan(store, [(SERIES, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask))
    *_, done = carry_out(store, [asks], ServedMarket(halved, window=150).fetch)
    assert isinstance(done, Stored)
    assert done.commit.seam is None and done.commit.readjustment is not None
    assert stored(store) == [*OLDER, *PLAIN[100:300], *halved[800:]]


def test_scaled_the_older_bars_are_the_markets(base: str) -> None:
    store, _ = after_a_pause(base)
    record = store.resolve_seam(*SERIES, Resolution.parse("scale 0.25"))
    scaled = [(row[0], *(price * 0.25 for price in row[1:5]), row[5] * 4) for row in OLDER]
    assert stored(store) == [*scaled, *SPLIT[100:300], *SPLIT[800:]]
    assert record == store.record(*SERIES)
    assert (record.open_seam, len(record.readjustments), record.gaps) == (None, 1, 3), "one across two files is two"
    assert record.seams[0].resolved == "scale 0.25 (volume × 4)"
    with pytest.raises(NoSeamError, match="NASDAQ:SPLT 1m has no open seam"):
        store.resolve_seam(*SERIES, Resolution.parse("accept"))


def test_cut_off_the_older_bars_are_kept_elsewhere(base: str) -> None:
    store, _ = after_a_pause(base)
    record = store.resolve_seam(*SERIES, Resolution.parse("cut"))
    assert stored(store) == SPLIT[800:]
    assert (record.open_seam, record.rows, record.asked) == (None, 200, ((second(800), second(COUNT - 1) + 1),))
    kept = [name for name in files_of(store).names() if "cut-1" in name or "damaged-" in name]
    assert len(kept) == 2, "the whole file of October, and the bars of November before the seam"
    with pytest.raises(AsOfError):
        store.read(*SERIES, as_of=at(COUNT) - timedelta(days=1))


def test_accepted_they_join_as_they_are(base: str) -> None:
    store, commit = after_a_pause(base, PLAIN)
    before = stored(store)
    record = store.resolve_seam(*SERIES, Resolution.parse("accept"))
    assert stored(store) == before
    assert (record.open_seam, record.gaps) == (None, 3)
    assert (record.seams[0].resolved, record.seams[0].resolved_at) == ("accept", NOW)
    assert record.seams[0].at == commit.record.seams[0].at


def test_an_answer_that_reaches_across_heals_it(base: str) -> None:
    store, _ = after_a_pause(base)
    *_, done = carry_out(
        store,
        [each for each in plan(store, [(SERIES, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask)],
        lambda requests: ((each, ServedMarket(SPLIT).answer(each)) for each in requests),
    )
    assert isinstance(done, Stored)
    whole = ServedMarket(SPLIT)
    rest = table(whole.rows[200:], asked_from=second(200), asked_until=second(COUNT))
    update = store.update_of(SERIES, rest)
    commit = enter(store, update)
    assert isinstance(commit, Commit)
    assert commit.record.open_seam is None
    assert commit.record.seams[0].resolved == "served anew across it"
    assert stored(store)[50:] == SPLIT[100:], "the older side was rescaled by what the answer proved"


def test_another_instrument_under_the_same_name_is_no_revision(base: str) -> None:
    """A ticker that was used again: what both sides have was not revised."""
    store = BarStore(base, clock=lambda: float(NOW))
    store.upsert(*SERIES, table(PLAIN[:500], trading_hours=HOURS, asked_from=second(0), asked_until=second(500)))
    other: Rows = [(row[0], 250.0, 310.0, 190.0, 250.0 + row[0] // 60 % 37, 5.0) for row in PLAIN]
    [asks] = (each for each in plan(store, [(SERIES, increment(SETTINGS, 9))], NOW) if isinstance(each, Ask))
    *_, done = carry_out(store, [asks], ServedMarket(other, window=600).fetch)
    assert isinstance(done, Stored)
    assert done.commit.seam is not None
    assert (done.commit.changed, done.commit.seam.replaced, done.commit.added) == (0, 100, 500)
    assert done.commit.unchanged == 0
    assert store.record(*SERIES).revisions == 0
    assert stored(store) == [*PLAIN[:400], *other[400:]]
    assert store.read(*SERIES, as_of=at(COUNT) + timedelta(minutes=1)).num_rows == 1_000


@pytest.mark.parametrize(
    "text", ["", "scale", "scale x", "scale 0", "scale -1", "scale inf", "cut 3", "mend", "scale 1 2 3"]
)
def test_what_resolves_nothing_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="accept, cut, or scale and a ratio"):
        Resolution.parse(text)


def test_a_resolution_reads_back() -> None:
    assert Resolution.parse("scale 0.98 1") == Resolution("scale", 0.98, 1.0)
    assert str(Resolution.parse("scale 4")) == "scale 4 (volume × 0.25)"
    assert str(Resolution.parse("cut")) == "cut"
