"""The tree keeps its promises: who imports whom, where tests stand, what importing the package costs."""

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

# Lower lines never import higher ones; the market server shares only these with the client.
CLIENT = "tv_etl.tradingview"
SHARED_WITH_SERVER = {f"{CLIENT}.{name}" for name in ("errors", "frames", "intervals", "models", "protocol", "symbols")}
PURE = {
    *(f"{CLIENT}.{name}" for name in ("errors", "frames", "intervals", "models", "paging", "protocol", "symbols")),
    "tv_etl.alerts",
    "tv_etl.alert_state",
    "tv_etl.daily_bars",
    "tv_etl.picture",
    "tv_etl.progress",
    "tv_etl.spans",
    "tv_etl.trading_hours",
}
DAGSTER = {
    f"tv_etl.{name}"
    for name in (
        "assets",
        "automation",
        "bars_run",
        "checks",
        "component",
        "definitions",
        "demo",
        "derived",
        "partitions",
        "resources",
        "run_outcomes",
        "schedules",
        "sensors",
        "symbol_sensors",
    )
}
STORE = {
    f"tv_etl.{name}"
    for name in (
        "collect.join",
        "bar_file", "bar_layout", "bar_log", "bar_store", "bar_table", "commit", "coverage", "panel", "revisions",
        "sealed_file", "series_record", "store_errors", "stored_series", "upsert",
    )
}  # fmt: skip


@cache
def imports_of(name: str) -> set[str]:
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
    return found


def importers_of(package: str) -> set[str]:
    return {
        name for name in MODULES if any(each == package or each.startswith(f"{package}.") for each in imports_of(name))
    }


def test_websockets_is_imported_in_two_places_only() -> None:
    assert importers_of("websockets") == {
        f"{CLIENT}.errors",
        f"{CLIENT}.websocket",
        "tv_etl.market_server.server",
    }


def test_pyarrow_is_imported_where_bars_are_tables() -> None:
    # The market server does without, but for the replay of Parquet files.
    replay = "tv_etl.market_server.replay_files"
    fetch = {"tv_etl.bar_files", "tv_etl.series_fetch"}
    assert importers_of("pyarrow") <= {f"{CLIENT}.bar_schema", f"{CLIENT}.history", replay, *fetch, *STORE, *DAGSTER}


def test_dagster_is_imported_by_the_dagster_side_only() -> None:
    assert importers_of("dagster") <= DAGSTER


def test_obstore_is_imported_in_one_place_only() -> None:
    assert importers_of("obstore") == {"tv_etl.bucket"}
    assert importers_of("tv_etl.object_lake") == {"tv_etl.bar_store"}, "where it may be missing"


def test_httpx_is_imported_where_plain_requests_are_made() -> None:
    assert importers_of("httpx") == {"tv_etl.notify", f"{CLIENT}.accounts", f"{CLIENT}.scanner"}


@pytest.mark.parametrize("name", MODULES)
def test_data_flows_one_way(name: str) -> None:
    ours = {each for each in imports_of(name) if each.startswith("tv_etl.")}
    if name.startswith(f"{CLIENT}."):
        assert all(each.startswith(f"{CLIENT}.") for each in ours), ours
    elif name.startswith("tv_etl.market_server"):
        assert all(each in SHARED_WITH_SERVER or each.startswith("tv_etl.market_server") for each in ours), ours
    elif name not in DAGSTER and name not in ("tv_etl", "tv_etl.cli", "tv_etl.status"):
        assert not ours & DAGSTER, ours
    assert "tv_etl.cli" not in ours
    assert "tv_etl.demo" not in ours or name == "tv_etl.cli"
    assert not any(each.startswith("tv_etl.market_server") for each in ours) or "market_server" in name


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_do_no_io_and_read_no_clock(name: str) -> None:
    forbidden = {"asyncio", "logging", "os", "pathlib", "random", "socket", "sqlite3", "threading", "time"}
    assert not imports_of(name) & forbidden


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_a_docstring(name: str) -> None:
    source = MODULES[name].read_text(encoding="utf-8")
    assert not source or ast.get_docstring(ast.parse(source)), name


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_its_test_file(name: str) -> None:
    path = MODULES[name].relative_to(PACKAGE)
    if path.name == "__init__.py":
        return
    mirror = TESTS / path.parent / f"test_{path.name}"
    assert mirror.exists(), f"{mirror.relative_to(TESTS.parent)} is missing"


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
    code = "import sys, tv_etl; tv_etl.load_watchlist; print([n for n in ('dagster', 'pyarrow') if n in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_market_server_needs_no_pyarrow() -> None:
    code = "import sys; import tv_etl.market_server.__main__; print('pyarrow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_the_client_needs_neither_dagster_nor_pyarrow() -> None:
    code = (
        "import sys; import tv_etl.tradingview.ohlcv; "
        "print([name for name in ('dagster', 'pyarrow', 'pandas', 'numpy') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
