import pytest

from tv_etl.orchestration.progress import Progress

pytestmark = pytest.mark.pure


def test_a_line_says_how_far_the_run_is_and_how_long_is_left() -> None:
    progress = Progress(1_200, 100.0)
    lines = [progress.count(2, 100.0 + number / 10) for number in range(1, 201)]
    reported = [line for line in lines if line is not None]
    assert reported[0] == "50 of 1,200 series (4%), 2 failed, 10.0 a second, 1 min 55 s left"
    assert reported[-1] == "200 of 1,200 series (17%), 2 failed, 10.0 a second, 1 min 40 s left"
    assert len(reported) == 4


def test_slow_series_are_reported_every_ten_seconds() -> None:
    progress = Progress(20, 0.0)
    lines = [progress.count(0, 4.0 * number) for number in range(1, 21)]
    assert [number for number, line in enumerate(lines, start=1) if line is not None] == [3, 6, 9, 12, 15, 18]


def test_the_end_is_not_progress() -> None:
    assert Progress(1, 0.0).count(0, 60.0) is None
