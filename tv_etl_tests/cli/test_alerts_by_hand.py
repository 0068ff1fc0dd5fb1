"""Alerts by hand. The commands of it are tested in test_alerts."""

from pathlib import Path

import pytest

from tv_etl.cli.alerts_by_hand import AlertsError, open_store, seconds_of


def test_a_duration_is_read_as_people_write_it() -> None:
    assert [seconds_of(text) for text in ("30m", "2h", "3d", "0")] == [1_800, 7_200, 259_200, 0]


def test_one_that_is_none_is_named_with_its_option() -> None:
    with pytest.raises(AlertsError, match=r"--for: .*'soon'"):
        seconds_of("soon")


def test_the_store_is_where_the_environment_says(tmp_path: Path) -> None:
    elsewhere = tmp_path / "state"
    with pytest.raises(AlertsError, match=f"{elsewhere}/alerts.sqlite: there is no store of alerts"):
        open_store("lake", {"TV_ETL_STATE": str(elsewhere)})
