import msgspec
import numpy as np
import pytest

from tv_etl.market_server.sessions.studies import is_known, metadata, study_points

pytestmark = pytest.mark.pure

ROWS = np.array([[0.0, 1, 3, 1, 2, 10], [60.0, 2, 2, 1, 1, 20]])


def test_volume_gives_its_points_with_the_colour_of_the_bar() -> None:
    points = msgspec.to_builtins(study_points("Volume@tv-basicstudies-246", ROWS, -1))
    assert points == [{"i": -1, "v": [0.0, 10.0, 1.0]}, {"i": 0, "v": [60.0, 20.0, 0.0]}]


def test_other_studies_and_bars_without_volume_give_none() -> None:
    assert study_points("Sessions@tv-basicstudies-262", ROWS, 0) == []
    assert study_points("Volume@tv-basicstudies-246", ROWS[:, :5], 0) == []


@pytest.mark.parametrize(
    "name",
    ["Sessions@tv-basicstudies-262", "BarSetContinuousRollDates@tv-corestudies-35", "Script@tv-scripting-101!"],
)
def test_recorded_studies_are_known(name: str) -> None:
    assert is_known(name)


@pytest.mark.parametrize("name", ["Volume", "", "PUB;abcdef", "Volume@mine-1", "@tv-basicstudies-1"])
def test_names_of_no_package_are_unknown(name: str) -> None:
    assert not is_known(name)


def test_the_metadata_describe_the_points_behind_their_time() -> None:
    (volume,) = metadata()
    (point, _) = msgspec.to_builtins(study_points(volume["id"], ROWS, 0))
    assert len(volume["plots"]) == len(point["v"]) - 1
