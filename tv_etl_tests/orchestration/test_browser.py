"""What a person sees in Dagster's interface, in a real browser: this machine's Chromium.

TV_ETL_SCREENSHOTS names a folder that the pictures of every page are kept in.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tv_etl_tests.dagster_dev import REFUSED, DagsterDev, GridBackfill, grid_symbols
from tv_etl_tests.patience import HANG_S

if TYPE_CHECKING:
    from playwright.sync_api import Page

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: make browser installs it")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
    # Playwright's own event loop is closed by its garbage collection.
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]

GOOD = f"1d|{grid_symbols()[0]}"
BAD = f"1d|{next(iter(REFUSED))}"

Show = Callable[[str, str], "Page"]


@pytest.fixture(params=["light", "dark"])
def show(request: pytest.FixtureRequest, dev: DagsterDev, grid_backfill: GridBackfill) -> Iterator[Show]:
    """Opens a page at a path, in both themes, and waits for a text in it; keeps what was seen."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page: Page = browser.new_page(viewport={"width": 1500, "height": 1300}, color_scheme=request.param)
        page.set_default_timeout(1_000 * HANG_S)
        folder = os.environ.get("TV_ETL_SCREENSHOTS")

        def show(path: str, text: str) -> "Page":
            page.goto(f"{dev.url}{path}")
            page.get_by_text(text).first.wait_for()
            return page

        yield show
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(500)  # the last texts fade in
            name = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        browser.close()


def partition_page(key: str) -> str:
    return f"/assets/bars?view=partitions&partition={quote(key, safe='')}"


def test_the_asset_says_what_it_is(show: Show) -> None:
    page = show("/assets/bars", "OHLCV bars of 50 symbols at 1d, 1h, 1m")
    for text in ("tv_etl/adjustment: splits", "what is fetched", "timestamp[us, UTC]"):
        page.get_by_text(text).first.wait_for()
    assert _pixels(page) > 300, "the newest partition's picture is shown at once"


def test_a_partition_shows_its_bars_and_what_is_known_of_them(show: Show) -> None:
    page = show(partition_page(GOOD), "newest bars")
    for fact in ("verdict", "completeness", "loss deadline", "rows added", "seconds to fetch", "gaps"):
        assert page.get_by_text(f'"{fact}":').first.is_visible(), fact
    assert _pixels(page) > 300


def _pixels(page: "Page") -> int:
    """How wide the first picture is that the browser could read and shows."""
    picture = page.locator("img[alt=bars]").first
    picture.wait_for()
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 300
    return int(picture.evaluate("image => image.complete ? image.naturalWidth : 0"))


def test_a_failed_partition_says_why(show: Show) -> None:
    page = show(partition_page(BAD), "failed, and did not materialize this asset")
    page.get_by_text("View all historical events (1)").click()
    page.get_by_role("dialog").get_by_text(BAD).last.click()
    page.get_by_text(REFUSED[BAD.split("|")[1]]).first.wait_for()


def test_a_series_that_fails_leaves_the_verdicts_on_the_others(show: Show) -> None:
    page = show("/assets/bars?view=checks", "ohlc_consistent")
    page.get_by_text("Succeeded").first.wait_for()
    assert page.get_by_text("Succeeded").count() == 6
    assert page.get_by_text("Execution failed").count() == 0


def test_the_schedules_and_the_sensor_are_there(show: Show) -> None:
    page = show("/automation", "bars_1d")
    for name in ("bars_1h", "bars_1m", "quote_alerts"):
        page.get_by_text(name, exact=True).first.wait_for()


def test_a_run_names_what_failed(show: Show, grid_backfill: GridBackfill) -> None:
    page = show(f"/runs/{next(iter(grid_backfill.runs))}", "2 of 50 series failed")
    for reason in REFUSED.values():
        page.get_by_text(reason).first.wait_for()
