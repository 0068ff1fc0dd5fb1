"""The new user's path: install the wheel, scaffold a component into an empty project, edit three lines, fetch bars."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tv_etl.lake.store import BarStore
from tv_etl_tests.patience import HANG_S

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parent.parent
# What `create-dagster project` lays out, without the network that it needs.
PROJECT = {
    "pyproject.toml": """\
[project]
name = "prices"
requires-python = ">=3.10,<3.15"
version = "0.1.0"
dependencies = ["dagster", "tv-etl"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "prices"
registry_modules = ["prices.components.*"]
""",
    "src/prices/__init__.py": "",
    "src/prices/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
    "src/prices/defs/__init__.py": "",
    "dagster_home/dagster.yaml": "telemetry:\n  enabled: false\n",
}
EDITS = {
    "  lake: lake ": "  lake: my_bars ",
    "[NASDAQ:AAPL, BINANCE:BTCUSDT]": "[NASDAQ:AAPL, NYSE:JNJ]",
    "[1d, 1h]": "[1d, 60]",
}


class User:
    """A person with a virtual environment and a project in a folder."""

    def __init__(self, folder: Path, ws_url: str) -> None:
        self.project = folder / "prices"
        self._python = folder / "venv" / "bin" / "python"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DAGSTER_HOME": str(self.project / "dagster_home"),
            "PYTHONPATH": str(self.project / "src"),  # in place of `pip install -e .`
            "TV_ETL_WS_URL": ws_url,
            "COLUMNS": "200",
        }

    def install(self, wheel: Path) -> None:
        """Put the wheel into a new environment that sees this one's packages, as if they came from an index."""
        venv = self._python.parent.parent
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=HANG_S)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site_packages = venv / "lib" / version / "site-packages"
        (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        self.python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._python), *arguments],
            cwd=self.project,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def dg(self, *arguments: str) -> str:
        return self.python("-m", "dagster_dg_cli.cli", *arguments)


@pytest.fixture
def user(tmp_path: Path, market_url: str) -> User:
    for name, text in PROJECT.items():
        path = tmp_path / "prices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=HANG_S)
    (wheel,) = tmp_path.glob("*.whl")
    person = User(tmp_path, market_url)
    person.install(wheel)
    return person


def test_three_edited_lines_lead_from_the_wheel_to_bars_in_the_lake(user: User) -> None:
    where = user.python("-c", "import tv_etl; print(tv_etl.__file__)")
    assert Path(where.strip()).is_relative_to(user.project.parent), "the checkout was imported, not the wheel"
    assert "A lake of TradingView bars" in user.dg("list", "components")

    user.dg("scaffold", "defs", "tv_etl.TradingViewComponent", "my_lake")
    file = user.project / "src" / "prices" / "defs" / "my_lake" / "defs.yaml"
    text = file.read_text(encoding="utf-8")
    for line, edited in EDITS.items():
        assert text.count(line) == 1
        text = text.replace(line, edited)
    file.write_text(text, encoding="utf-8")

    assert "All definitions loaded successfully." in user.dg("check", "defs")
    listed = json.loads(user.dg("list", "defs", "--json"))
    assert "bars" in {each["asset_key"] for each in listed["assets"]}
    assert "bars:ohlc_consistent" in {each["key"] for each in listed["asset_checks"]}
    assert {"bars_1d", "bars_1h"} <= {each["name"] for each in listed["schedules"]}

    user.dg("launch", "--assets", "bars", "--partition", "1d|NASDAQ:AAPL")
    stored = BarStore(user.project / "my_bars").read("NASDAQ:AAPL", "1d")
    assert stored.num_rows > 1_000
