import pytest

from tv_etl.market_server.market import venues
from tv_etl.market_server.market.sessions import Hours, Schedule


@pytest.mark.parametrize(
    ("schedule", "minutes", "segments"),
    [
        (venues.US_EQUITY, 390, 1),
        (venues.XETRA, 510, 1),
        (venues.LONDON, 510, 1),
        (venues.EURONEXT, 510, 1),
        (venues.JAPAN, 330, 2),
        (venues.HONG_KONG, 330, 2),
        (venues.CHINA, 240, 2),
        (venues.THAILAND, 300, 2),
        (venues.CRYPTO, 1_440, 1),
    ],
)
def test_venues_trade_as_long_as_they_do(schedule: Schedule, minutes: int, segments: int) -> None:
    hours = Hours.parse(schedule.session)
    assert (hours.minutes, len(hours.segments)) == (minutes, segments)


def test_half_days_end_early() -> None:
    for schedule in (venues.LONDON, venues.EURONEXT, venues.HONG_KONG, venues.US_EQUITY):
        (half,) = (text for text in schedule.corrections if text != "dayoff")
        assert Hours.parse(half).minutes < Hours.parse(schedule.session).minutes
        assert "20251224" in schedule.corrections[half]


def test_sources_go_by_the_name_of_their_exchange() -> None:
    assert all(source.id == name for name, source in venues.SOURCES.items())
