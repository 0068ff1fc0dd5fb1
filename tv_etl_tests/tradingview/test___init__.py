"""The documented names can be imported from the package, and cost nothing before they are used."""

import subprocess
import sys

import pytest

import tv_etl.tradingview


@pytest.mark.parametrize("name", tv_etl.tradingview.__all__)
def test_each_documented_name_is_there(name: str) -> None:
    assert getattr(tv_etl.tradingview, name).__name__ == name


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="'nonsense'"):
        tv_etl.tradingview.nonsense  # noqa: B018


def test_importing_the_package_loads_no_module_of_it() -> None:
    code = "import sys, tv_etl.tradingview; print([name for name in sys.modules if 'tradingview.' in name])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
