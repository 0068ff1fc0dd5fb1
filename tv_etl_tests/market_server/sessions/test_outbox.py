import pytest

from tv_etl.market_server.sessions.outbox import Hangup, Hush, Outbox, Packet

pytestmark = pytest.mark.pure


def put(outbox: Outbox, channel: str, *texts: str, delay_s: float = 0.0) -> None:
    outbox.put(channel, [Packet(text) for text in texts], delay_s)


def test_what_is_due_together_shares_a_message() -> None:
    outbox = Outbox()
    put(outbox, "a", "1", "2")
    put(outbox, "b", "3")
    outbox.stamp(0.0, 0.0)
    assert outbox.take_due(0.0) == ["123"]
    assert outbox.next_due() is None


def test_what_needs_work_comes_after_what_does_not() -> None:
    outbox = Outbox()
    put(outbox, "a", "work", delay_s=0.01)
    put(outbox, "b", "at once")
    outbox.stamp(0.0, 0.5)
    assert outbox.take_due(0.5) == ["at once"]
    assert outbox.take_due(0.51) == ["work"]


def test_a_channel_keeps_its_order() -> None:
    outbox = Outbox()
    put(outbox, "a", "slow", delay_s=3.0)
    outbox.stamp(0.0, 0.0)
    put(outbox, "a", "later")
    put(outbox, "b", "other")
    outbox.stamp(1.0, 1.0)
    assert outbox.take_due(1.0) == ["other"]
    assert outbox.take_due(3.0) == ["slowlater"]


def test_latency_delays_everything() -> None:
    outbox = Outbox(latency_s=0.2)
    put(outbox, "a", "1")
    outbox.stamp(0.0, 0.0)
    assert outbox.take_due(0.19) == []
    assert outbox.next_due() == 0.2
    assert outbox.take_due(0.2) == ["1"]


def test_a_packet_alone_and_a_hangup_stand_for_themselves() -> None:
    outbox = Outbox()
    outbox.put("a", [Packet("1"), Packet("2", is_alone=True), Packet("3"), Hangup()])
    outbox.stamp(0.0, 0.0)
    assert outbox.take_due(0.0) == ["1", "2", "3", Hangup()]


def test_jitter_delays_up_to_its_limit_in_order_and_the_same_every_time() -> None:
    letters = "abcdefghijklmnopqrst"

    def times_of_arrival() -> list[tuple[float, str]]:
        outbox = Outbox(jitter_s=0.5, seed=1)
        arrived: list[tuple[float, str]] = []
        for number, letter in enumerate(letters):
            put(outbox, f"channel {number % 3}", letter)
            outbox.stamp(number * 0.125, number * 0.125)
        while (due := outbox.next_due()) is not None:
            arrived += [(due, letter) for letter in "".join(str(text) for text in outbox.take_due(due))]
        return arrived

    first = times_of_arrival()
    assert "".join(letter for _, letter in first) == letters
    delays = [due - letters.index(letter) * 0.125 for due, letter in first]
    assert min(delays) >= 0.0 and 0.25 < max(delays) <= 0.5
    assert first == times_of_arrival()


def test_after_a_hush_nothing_is_sent() -> None:
    outbox = Outbox()
    outbox.put("a", [Packet("1"), Hush(), Packet("2")])
    outbox.stamp(0.0, 0.0)
    assert outbox.take_due(0.0) == ["1"]
    outbox.put("b", [Packet("3"), Hangup()])
    outbox.stamp(1.0, 1.0)
    assert outbox.take_due(1.0) == []
