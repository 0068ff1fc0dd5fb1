import pytest

from tv_etl.market_server.market.listings import find_listing, listings
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.sessions.world import World
from tv_etl.market_server.site.screener_columns import COLUMNS, MARKETS, REPORTED, Figures, Row, is_column, market_of
from tv_etl_tests.market_server.talk import FRIDAY_NOON, StillClock

WORLD = World(Market(7), StillClock(), lambda: 0.0)
OPTION = find_listing("OPRA:AAPL261218C310.0")
FIGURES = Figures(WORLD, [*listings().values(), *([OPTION] if OPTION else [])])
PLACES = range(len(FIGURES.listings))


@pytest.mark.parametrize("column", sorted(COLUMNS))
def test_a_column_has_a_value_for_some_listing_or_is_known_to_have_none(column: str) -> None:
    values = FIGURES.column(column, PLACES)
    assert any(value is not None for value in values) == (column in REPORTED)


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("close", True), ("close[1]", True), ("RSI|60", True), ("RSI|1W", True), ("AO[2]|240", True), ("close|", False),
     ("close[10]", False), ("nothing|60", False), ("close[1][1]", False), ("RSI|60|60", False), ("", False)],
)  # fmt: skip
def test_columns_may_be_of_another_interval_or_an_earlier_bar(name: str, is_known: bool) -> None:
    assert is_column(name) is is_known


def test_every_listing_belongs_to_a_market() -> None:
    assert {market_of(listing) for listing in FIGURES.listings} == MARKETS


def test_a_delayed_feed_says_so_and_shows_the_past() -> None:
    listing = find_listing("LSE:VOD")
    source = WORLD.find("LSE:VOD")
    assert listing is not None and source is not None
    row = Row(Figures(WORLD, [listing]), 0)
    assert row["update_mode"] == "delayed_streaming_900"
    (today,) = WORLD.market.newest_days([listing], FRIDAY_NOON, (0,)).tolist()[0]
    assert row["close"] == today[4]
    assert set(row) == COLUMNS and len(row) == len(COLUMNS)
