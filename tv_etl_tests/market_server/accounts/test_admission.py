from tv_etl.market_server.accounts.admission import FULL_RETRY_S, Admission


def test_without_limits_everybody_is_admitted() -> None:
    admission = Admission()
    assert all(admission.admit("1", 0.0, number) is None for number in range(1_000))


def test_so_many_connections_may_be_open() -> None:
    admission = Admission(max_connections=2)
    assert admission.admit("1", 0.0, 1) is None
    assert admission.admit("1", 0.0, 2) == FULL_RETRY_S


def test_so_many_may_be_opened_within_a_minute_by_each_address() -> None:
    admission = Admission(rate_limit=2)
    assert [admission.admit("1", moment, 0) for moment in (0.0, 10.5, 20.0, 59.5)] == [None, None, 40, 1]
    assert admission.admit("2", 20.0, 0) is None
    assert [admission.admit("1", moment, 0) for moment in (60.0, 61.0, 70.5)] == [None, 10, None]


def test_a_limit_of_none_at_all_admits_nobody() -> None:
    assert Admission(rate_limit=0).admit("1", 0.0, 0) == FULL_RETRY_S
