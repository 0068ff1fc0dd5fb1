"""Two components of a project that share a name are told what to change, and where."""

from dagster.components.testing import DefsFolderSandbox

from tv_etl_tests.defs_folder import DAGSTER_WARNINGS, GROUP, mistakes, write

pytestmark = DAGSTER_WARNINGS


def test_a_group_of_another_component_is_named_with_both_places(project: DefsFolderSandbox) -> None:
    write(project, "a", f"groups:\n{GROUP.format(name='x')}{GROUP.format(name='bars').replace('AAPL', 'MSFT')}")
    path = write(project, "b", "watchlist: list.yaml\n")
    (path / "list.yaml").write_text(f"groups:\n{GROUP.format(name='bars')}", encoding="utf-8")
    assert mistakes(project) == [
        "defs/a/defs.yaml:7:11: groups.1.name: bars is also a group of defs/b/defs.yaml; "
        "an asset has one owner: give this group another name, or the component a key_prefix"
    ]


def test_two_lakes_with_automation_need_a_prefix(project: DefsFolderSandbox) -> None:
    for name in ("a", "b"):
        group = GROUP.format(name=name).replace("AAPL", name.upper()) + "  automation: true\n"
        write(project, name, f"groups:\n{group}")
    assert mistakes(project) == [
        "defs/a/defs.yaml:7:17: groups.0.automation: new_series is also the sensor of defs/b/defs.yaml; "
        "give the component a key_prefix"
    ]
