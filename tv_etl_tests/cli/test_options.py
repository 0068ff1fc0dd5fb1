"""Options of several commands."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tv_etl.cli.options import DEFAULT_BARS, chosen_range, parse_time
from tv_etl_tests.command import call
from tv_etl_tests.conftest import NOW


def test_times_are_read_with_and_without_zone() -> None:
    assert parse_time("--start", None) is None
    assert parse_time("--start", "2026-11-02") == datetime(2026, 11, 2, tzinfo=timezone.utc)
    assert parse_time("--start", "2026-11-02T14:30:00Z") == datetime(2026, 11, 2, 14, 30, tzinfo=timezone.utc)


def test_days_count_back_from_now() -> None:
    assert chosen_range(None, 30, None, False, NOW) == (None, NOW - timedelta(days=30))
    assert chosen_range(None, 0.5, None, False, NOW) == (None, NOW - timedelta(hours=12))
    assert chosen_range(None, None, None, True, NOW) == (None, None)
    assert chosen_range(None, None, None, False, NOW) == (DEFAULT_BARS, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("verify",),
        ("export",),
        ("seam", "A:B", "1d"),
        ("rename", "A:B", "A:C"),
        ("remove", "A:B", "--yes"),
    ],
)
def test_a_path_without_a_lake_is_told_and_makes_none(arguments: list[str], tmp_path: Path) -> None:
    done = call(*arguments, "--lake", str(tmp_path / "typo"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: no lake at {tmp_path}/typo: there is no such directory; is the path right")
    assert list(tmp_path.iterdir()) == []
