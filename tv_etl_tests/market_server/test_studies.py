import msgspec
import numpy as np

from tv_etl.market_server.studies import study_points

ROWS = np.array([[0.0, 1, 3, 1, 2, 10], [60.0, 2, 2, 1, 1, 20]])


def test_volume_gives_its_points_with_the_colour_of_the_bar() -> None:
    points = msgspec.to_builtins(study_points("Volume@tv-basicstudies-246", ROWS, -1))
    assert points == [{"i": -1, "v": [0.0, 10.0, 1.0]}, {"i": 0, "v": [60.0, 20.0, 0.0]}]


def test_other_studies_and_bars_without_volume_give_none() -> None:
    assert study_points("Sessions@tv-basicstudies-262", ROWS, 0) == []
    assert study_points("Volume@tv-basicstudies-246", ROWS[:, :5], 0) == []
