"""Options of several commands."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from tv_etl.cli.options import parse_time
from tv_etl_tests.command import call


def test_times_are_read_with_and_without_zone() -> None:
    assert parse_time("--start", None) is None
    assert parse_time("--start", "2026-11-02") == datetime(2026, 11, 2, tzinfo=timezone.utc)
    assert parse_time("--start", "2026-11-02T14:30:00Z") == datetime(2026, 11, 2, 14, 30, tzinfo=timezone.utc)


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
