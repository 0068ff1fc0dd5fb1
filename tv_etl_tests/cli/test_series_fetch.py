"""What a fetch asks for, and what becomes of each series."""

import pyarrow as pa

from tv_etl.cli.series_fetch import FetchOptions, SeriesFetch
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series

DAY = Interval.parse("1d")
AAPL = Series("NASDAQ:AAPL", DAY)


def test_one_more_bar_is_asked_for_only_where_one_may_be_forming() -> None:
    assert FetchOptions(bars=5).request(AAPL).bars_count == 6
    assert FetchOptions(bars=5, with_forming=True).request(AAPL).bars_count == 5
    assert FetchOptions().request(AAPL).bars_count is None


def test_a_series_that_breaks_our_code_is_named_and_the_others_are_fetched(market_url: str) -> None:
    fetching = SeriesFetch(["NASDAQ:AAPL", "NYSE:JNJ"], [DAY], FetchOptions(bars=5), ws_url=market_url)
    written: dict[str, int] = {}

    def put(series: Series, bars: pa.Table) -> None:
        if series.symbol == "NASDAQ:AAPL":
            raise pa.ArrowInvalid("\x1b[31mout of range")
        written[series.symbol] = bars.num_rows

    errors = {outcome.series.symbol: outcome.error for outcome in fetching.run(put, None)}
    assert errors == {"NASDAQ:AAPL": "not written: unexpected ArrowInvalid: \ufffd[31mout of range", "NYSE:JNJ": ""}
    assert written == {"NYSE:JNJ": 5}
