"""The table of live quotes."""

import io

import pytest
from rich.console import Console
from rich.segment import Segment

from tv_etl.cli.watch_quotes import FLASH_S, Quote, QuoteTable
from tv_etl.tradingview.models import StreamGap


def test_a_gap_is_shown_once_for_all_symbols_and_the_oldest_give_way() -> None:
    table = QuoteTable(["NASDAQ:AAPL", "FX:EURUSD"])
    for minute in range(5):
        gaps = [StreamGap(symbol, "", minute * 60.0, minute * 60.0 + 9) for symbol in table.quotes]
        assert [table.add_gap(gap) for gap in gaps] == [True, False]
    assert list(table.gaps) == [(120.0, 129.0), (180.0, 189.0), (240.0, 249.0)]


def test_a_price_is_coloured_for_a_moment_after_it_moved() -> None:
    def prices(now: float) -> list[Segment]:
        segments = Console(width=120, force_terminal=True, file=io.StringIO()).render(table.render(now, 120))
        return [each for each in segments if each.text in ("10.00", "11.00")]

    table = QuoteTable(["NASDAQ:AAPL"])
    assert table.update(Quote("NASDAQ:AAPL", price=10.0), 0.0)
    assert [each.style and each.style.color for each in prices(0.0)] == [None]
    assert table.update(Quote("NASDAQ:AAPL", price=11.0), 5.0)
    assert not table.update(Quote("NASDAQ:AAPL", price=11.0), 5.1)
    [segment] = prices(5.0)
    assert segment.style is not None and segment.style.color is not None and segment.style.color.name == "green"
    assert [each.style and each.style.color for each in prices(5.0 + FLASH_S)] == [None]


@pytest.mark.parametrize("width", [80, 110])
def test_the_longest_rows_fit_their_width(width: int) -> None:
    fields = {"lp": 100_000.25, "ch": -12_345.5, "chp": -10.25, "volume": 2.5e9, "bid": 100_000.0, "ask": 100_000.5}
    facts = {
        "lp_time": 1_795_000_000,
        "pricescale": 100,
        "update_mode": "delayed_streaming_900",
        "currency_code": "USD",
    }
    table = QuoteTable(["BINANCE:BTCUSDT.P"])
    table.update(Quote.of("BINANCE:BTCUSDT.P", {**fields, **facts}), 0.0)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table.render(0.0, width))
    text = console.export_text()
    assert "…" not in text
    for shown in ("100,000.25", "-12,345.50", "-10.25", "2.50B", "11-18", "15 min"):
        assert shown in text
    assert ("100,000.50" in text) == (width == 110)


def test_the_table_shows_data_as_it_is() -> None:
    table = QuoteTable(["X:[red]A[/red]"])
    table.update(Quote("X:[red]A[/red]", price=1.0), 0.0)
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(table.render(0.0, 120))
    assert "X:[red]A[/red]" in captured.get()
