"""What `dg scaffold` writes loads as it is."""

from dagster.components.testing import DefsFolderSandbox

import tv_etl
from tv_etl.orchestration.component import TradingViewComponent
from tv_etl_tests.defs_folder import DAGSTER_WARNINGS, names

pytestmark = DAGSTER_WARNINGS


def test_the_scaffolder_writes_what_loads(project: DefsFolderSandbox) -> None:
    path = project.scaffold_component(tv_etl.TradingViewComponent, "my_lake")
    text = (path / "defs.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 12 and "{file: symbols.txt}" in text
    with project.load_component_and_build_defs(path) as (component, definitions):
        assert isinstance(component, TradingViewComponent) and component.lake == "lake"
        assert names(definitions)["assets"] == {"bars", "my_lake_lake"}


def test_the_scaffolder_writes_python_that_loads(project: DefsFolderSandbox) -> None:
    project.scaffold_component(TradingViewComponent, "my_lake", scaffold_format="python")
    with project.build_all_defs() as definitions:
        assert names(definitions)["jobs"] >= {"bars_job"}
        assert "my_lake_load_bar_store" in (definitions.resources or {})
