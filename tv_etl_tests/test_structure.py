"""The tree keeps its promises: which folder imports which, where tests stand, what importing the package costs."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tv_etl

PACKAGE = Path(tv_etl.__file__).parent
TESTS = Path(__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Modules that may import more than their folder.
DOORS = {"alerts.dataset": {"lake"}, "alerts.stored_history": {"lake"}}

# Whom each folder may import, beside itself. The face and the code location are folders of their own.
FOLDERS = {
    "tradingview": set[str](),
    "lake": {"tradingview"},
    "alerts": {"tradingview"},
    "watchlist": {"tradingview", "alerts.events", "alerts.rules", "alerts.targets", "alerts.troubles"},
    "collect": {"lake", "tradingview"},
    "imports": {"collect", "lake", "tradingview"},
    "orchestration": {"tradingview", "lake", "alerts", "watchlist", "collect"},
    "cli": {"", "tradingview", "lake", "alerts", "watchlist", "collect", "imports", "orchestration"},
    # The two ends of the wire share how it is written, and nothing of what they make of it.
    "market_server": {f"tradingview.{name}" for name in ("errors", "frames", "intervals", "protocol", "symbols")},
    "definitions": {"watchlist", "orchestration"},
    "testing": {"lake", "tradingview"},
    "": {"watchlist", "orchestration"},
}
# The only modules and folders that may import a library.
LIBRARIES = {
    "dagster": {"orchestration", "definitions", "cli.demo_run"},
    "obstore": {"lake.storage.bucket"},
    "websockets": {"tradingview.websocket", "tradingview.wire_errors", "market_server.server"},
    "httpx": {
        "tradingview.accounts", "tradingview.http_service", "tradingview.scanner", "tradingview.symbol_search",
        "tradingview.tls", "alerts.targets", "alerts.courier",
    },
    "apprise": {"alerts.targets.apprise_process"},
    "smtplib": {"alerts.targets.email"},
    "sqlalchemy": {
        "alerts.by_hand", "alerts.database", "alerts.deliveries", "alerts.store", "alerts.stored_events",
        "alerts.trouble_store", "orchestration.dagster_internals", "orchestration.event_history",
    },
    "pyarrow": {
        "alerts.dataset", "tradingview.bar_schema", "tradingview.columns", "tradingview.history", "lake", "collect",
        "imports", "cli", "orchestration", "market_server.market.replay_files", "testing",
    },
    "rich": {"cli"},
    "click": {"cli"},
}  # fmt: skip
# No I/O and no clock: tested without an event loop.
PURE = {
    *(f"tradingview.{name}" for name in ("errors", "frames", "intervals", "models", "paging", "protocol", "symbols")),
    *(f"tradingview.{name}" for name in ("closed_bars", "damage", "estimate", "live_bars", "rhythm", "series")),
    "tradingview.spellings",
    "tradingview.trading_hours",
    "collect.answer",
    "collect.ask",
    "collect.entry",
    "collect.join",
    *(f"imports.{name}" for name in ("names", "options", "rows", "times")),
    "alerts.cap",
    "alerts.closes",
    "alerts.conditions",
    "alerts.events",
    "alerts.fold",
    "alerts.health",
    "alerts.levels",
    "alerts.look",
    "alerts.messages",
    "alerts.mutes",
    "alerts.notices",
    "alerts.options",
    "alerts.reminders",
    "alerts.replay",
    "alerts.troubles",
    "alerts.truth_table",
    "alerts.rounds",
    "alerts.routes",
    "alerts.rules",
    "alerts.state",
    *(
        f"alerts.targets.{name}"
        for name in ("addresses", "configured", "discord", "ntfy", "pagerduty", "ping", "slack")
    ),
    *(f"alerts.targets.{name}" for name in ("target", "telegram", "webhook")),
    "alerts.watch",
    "lake.cadence",
    "lake.chart",
    "lake.derived.daily",
    "lake.picture",
    "lake.provenance",
    "lake.readjustment",
    "lake.resolution",
    "lake.seam",
    "lake.witness",
    "lake.spans",
    "orchestration.progress",
    "watchlist.symbol_list",
}
IMPURE = {"asyncio", "logging", "os", "pathlib", "random", "socket", "sqlite3", "threading", "time"}


@cache
def imports_of(name: str) -> frozenset[str]:
    """Every module that a module imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} uses a relative import"
            module = node.module or ""
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module for alias in node.names
            }
    return frozenset(found)


def inside(name: str) -> str:
    """The name of a module of ours without that of the package."""
    return name.removeprefix("tv_etl").removeprefix(".")


def folder_of(name: str) -> str:
    return inside(name).partition(".")[0]


def is_in(name: str, places: set[str]) -> bool:
    """True if a module is one of the places, or lies in one."""
    return any(inside(name) == place or (place and inside(name).startswith(f"{place}.")) for place in places)


def test_every_folder_has_its_line_in_the_table() -> None:
    assert {folder_of(name) for name in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("name", MODULES)
def test_data_flows_one_way(name: str) -> None:
    folder = folder_of(name)
    others = {each for each in imports_of(name) if each.partition(".")[0] == "tv_etl" and folder_of(each) != folder}
    allowed = FOLDERS[folder] | DOORS.get(inside(name), set())
    assert {each for each in others if not is_in(each, allowed)} == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    importers = {
        name for name in MODULES if any(each == library or each.startswith(f"{library}.") for each in imports_of(name))
    }
    assert importers
    assert {name for name in importers if not is_in(name, LIBRARIES[library])} == set()


def test_nothing_private_of_dagster_is_imported_but_in_one_file() -> None:
    private = {
        name
        for name in MODULES
        if any(each.startswith(("dagster._", "dagster_shared", "dagster_pipes")) for each in imports_of(name))
    }
    assert private == {"tv_etl.orchestration.dagster_internals"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_runs_what_it_reads(name: str) -> None:
    """Reading with these executes what somebody has written there."""
    assert not imports_of(name) & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    source = MODULES[name].read_text(encoding="utf-8")
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "compile"}
    loads = {call.attr for call in calls if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "yaml"}
    assert loads <= {"SafeLoader", "safe_dump", "safe_load"}


def test_the_object_store_may_be_missing() -> None:
    objects = "tv_etl.lake.storage.objects"
    assert {name for name in MODULES if objects in imports_of(name)} == {"tv_etl.lake.store"}


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_do_no_io_and_read_no_clock(name: str) -> None:
    assert not imports_of(f"tv_etl.{name}") & IMPURE


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_a_docstring(name: str) -> None:
    source = MODULES[name].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), name


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_its_test_file(name: str) -> None:
    path = MODULES[name].relative_to(PACKAGE)
    if path.name == "__init__.py":
        return
    mirror = TESTS / path.parent / f"test_{path.name}"
    assert mirror.exists(), f"{mirror.relative_to(TESTS.parent)} is missing"


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of these modules are loaded once the code has run in a process of its own."""
    script = f"import sys\n{code}\nprint([name for name in {names!r} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return list(ast.literal_eval(printed))


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import tv_etl; print(sorted(set(sys.modules) - before))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['tv_etl']"


def test_the_package_loads_what_defines_a_code_location_on_first_use() -> None:
    code = "import sys, tv_etl; print(all(hasattr(tv_etl, name) and name in dir(tv_etl) for name in tv_etl.__all__))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "True"
    with pytest.raises(AttributeError, match="'tv_etl' has no attribute 'nothing'"):
        _ = tv_etl.nothing


def test_reading_a_watchlist_needs_neither_dagster_nor_pyarrow() -> None:
    assert loaded_by("import tv_etl; tv_etl.load_watchlist", "dagster", "pyarrow") == []


def test_the_lake_and_what_feeds_it_need_no_dagster() -> None:
    assert loaded_by("from tv_etl.lake import BarStore; import tv_etl.collect.join", "dagster", "pandas") == []


def test_an_increment_does_not_load_pandas(tmp_path: Path) -> None:
    """pyarrow would, wherever it is installed: see `tradingview.columns`."""
    code = f"""
import numpy as np
from tv_etl.lake import BarStore
from tv_etl.tradingview.bar_schema import table_of_bars
store, times = BarStore({str(tmp_path)!r}), np.arange(1_000) * 60_000_000
table = table_of_bars(times, np.ones((5, 1_000)), times % 7 > 0)
for bars in (table.slice(0, 900), table.slice(800)):
    store.upsert("NASDAQ:AAPL", "1m", bars)
assert store.read("NASDAQ:AAPL", "1m").num_rows == 1_000
"""
    assert loaded_by(code, "pyarrow", "pandas") == ["pyarrow"]


def test_the_market_server_needs_no_pyarrow() -> None:
    assert loaded_by("import tv_etl.market_server.__main__", "pyarrow", "dagster") == []


def test_the_client_needs_neither_dagster_nor_pyarrow() -> None:
    assert loaded_by("import tv_etl.tradingview.ohlcv", "dagster", "pyarrow", "pandas") == []
