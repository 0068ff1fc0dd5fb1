"""The pictures of docs/alerts.md show what the rules do."""

from pathlib import Path

import pytest

from docs.alert_pictures import pictures

pytestmark = pytest.mark.pure

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "text"), pictures().items())
def test_each_picture_is_what_the_rules_draw_today(name: str, text: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == text, "run python docs/alert_pictures.py"


def test_each_picture_is_shown_on_the_page() -> None:
    page = (DOCS / "alerts.md").read_text(encoding="utf-8")
    assert [name for name in pictures() if f"]({name})" not in page] == []
