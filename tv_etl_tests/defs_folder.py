"""Components in the defs folder of a `dg` project, and what is defined by them or wrong with them."""

import textwrap
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import DefsFolderSandbox

from tv_etl.watchlist.model import WatchlistError

# Dagster's own, where it loads a defs folder.
DAGSTER_WARNINGS = [
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Function `load_definitions_from_modules?`:dagster.PreviewWarning"),
    pytest.mark.filterwarnings(r"ignore:Class `\w*CodeReference\w*`:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `owners` of initializer:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `execution_type` of function:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `use_user_code_server` of initializer:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:Parameter `include_sources` of function:dagster.BetaWarning"),
]
GROUP = """\
- name: {name}
  symbols: [NASDAQ:AAPL]
  intervals: [1d]
"""


def write(project: DefsFolderSandbox, folder: str, *attributes: str) -> Path:
    """A defs.yaml in a folder of its own, with a component of each of these attributes; returns the folder."""
    path = project.defs_folder_path / folder
    path.mkdir(parents=True)
    documents = [
        "type: tv_etl.TradingViewComponent\nattributes:\n" + textwrap.indent(each, "  ") for each in attributes
    ]
    (path / "defs.yaml").write_text("---\n".join(documents), encoding="utf-8")
    return path


def mistakes(project: DefsFolderSandbox) -> list[str]:
    """What is said to be wrong with the components of a project that does not load."""
    with pytest.raises(ComponentTreeException) as caught, project.build_all_defs():
        pass
    error = caught.value.__cause__
    assert isinstance(error, WatchlistError)
    return str(error).replace(str(project.defs_folder_path), "defs").splitlines()[1:]


def names(definitions: dg.Definitions) -> dict[str, set[str]]:
    """The names of all definitions, by what they are."""
    repository = definitions.get_repository_def()
    return {
        "assets": {key.to_user_string() for key in repository.assets_defs_by_key},
        "checks": {str(key) for key in repository.asset_checks_defs_by_key},
        "jobs": {job.name for job in repository.get_all_jobs()},
        "schedules": {each.name for each in repository.schedule_defs},
        "sensors": {each.name for each in repository.sensor_defs},
    }
