import pytest

from tv_etl.market_server.sessions.send_queue import SHARED_LENGTH, Hangup, Hush, Packet, SendQueue

pytestmark = pytest.mark.pure


def put(queue: SendQueue, channel: str, *texts: str, delay_s: float = 0.0) -> None:
    queue.put(channel, [Packet(text) for text in texts], delay_s)


def test_what_is_due_together_shares_a_message() -> None:
    queue = SendQueue()
    put(queue, "a", "1", "2")
    put(queue, "b", "3")
    queue.stamp(0.0, 0.0)
    assert queue.take_due(0.0) == ["123"]
    assert queue.next_due() is None


def test_a_message_is_shared_up_to_a_length() -> None:
    long, short = "x" * (SHARED_LENGTH - 2), "y"
    queue = SendQueue()
    put(queue, "a", long, short, short, short, 2 * long, long)
    queue.stamp(0.0, 0.0)
    assert queue.take_due(0.0) == [long + 2 * short, short, 2 * long, long]


def test_what_needs_work_comes_after_what_does_not() -> None:
    queue = SendQueue()
    put(queue, "a", "work", delay_s=0.01)
    put(queue, "b", "at once")
    queue.stamp(0.0, 0.5)
    assert queue.take_due(0.5) == ["at once"]
    assert queue.take_due(0.51) == ["work"]


def test_a_channel_keeps_its_order() -> None:
    queue = SendQueue()
    put(queue, "a", "slow", delay_s=3.0)
    queue.stamp(0.0, 0.0)
    put(queue, "a", "later")
    put(queue, "b", "other")
    queue.stamp(1.0, 1.0)
    assert queue.take_due(1.0) == ["other"]
    assert queue.take_due(3.0) == ["slowlater"]


def test_latency_delays_everything() -> None:
    queue = SendQueue(latency_s=0.2)
    put(queue, "a", "1")
    queue.stamp(0.0, 0.0)
    assert queue.take_due(0.19) == []
    assert queue.next_due() == 0.2
    assert queue.take_due(0.2) == ["1"]


def test_a_packet_alone_and_a_hangup_stand_for_themselves() -> None:
    queue = SendQueue()
    queue.put("a", [Packet("1"), Packet("2", is_alone=True), Packet("3"), Hangup()])
    queue.stamp(0.0, 0.0)
    assert queue.take_due(0.0) == ["1", "2", "3", Hangup()]


def test_jitter_delays_up_to_its_limit_in_order_and_the_same_every_time() -> None:
    letters = "abcdefghijklmnopqrst"

    def times_of_arrival() -> list[tuple[float, str]]:
        queue = SendQueue(jitter_s=0.5, seed=1)
        arrived: list[tuple[float, str]] = []
        for number, letter in enumerate(letters):
            put(queue, f"channel {number % 3}", letter)
            queue.stamp(number * 0.125, number * 0.125)
        while (due := queue.next_due()) is not None:
            arrived += [(due, letter) for letter in "".join(str(text) for text in queue.take_due(due))]
        return arrived

    first = times_of_arrival()
    assert "".join(letter for _, letter in first) == letters
    delays = [due - letters.index(letter) * 0.125 for due, letter in first]
    assert min(delays) >= 0.0 and 0.25 < max(delays) <= 0.5
    assert first == times_of_arrival()


def test_after_a_hush_nothing_is_sent() -> None:
    queue = SendQueue()
    queue.put("a", [Packet("1"), Hush(), Packet("2")])
    queue.stamp(0.0, 0.0)
    assert queue.take_due(0.0) == ["1"]
    queue.put("b", [Packet("3"), Hangup()])
    queue.stamp(1.0, 1.0)
    assert queue.take_due(1.0) == []
