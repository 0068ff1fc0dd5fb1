from tv_etl_tests.market_server.talk import FRIDAY_NOON, Talk


def test_the_world_knows_the_market_and_the_faults() -> None:
    world = Talk().world
    assert world.find("NASDAQ:NOPE") is None
    aapl, fault = world.find("NASDAQ:AAPL", "extended"), world.find("FAULT:SLOW")
    assert aapl is not None and aapl.calendar.hours[0].minutes == 960
    assert fault is not None and fault.listing.symbol == "FAULT:SLOW"


def test_its_time_is_the_markets() -> None:
    talk = Talk()
    assert talk.world.time_ms() == FRIDAY_NOON * 1_000
    talk.clock.moment += 1.5
    assert talk.world.time_ms() == FRIDAY_NOON * 1_000 + 1_500
