"""What the demo may touch. That it does all it promises is tested through the command."""

from pathlib import Path

import pytest
from rich.console import Console

from tv_etl.cli.demo_run import DemoError, run_demo


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(DemoError, match=str(tmp_path)):
        run_demo(tmp_path, Console(quiet=True))
    assert precious.read_text() == "mine"
