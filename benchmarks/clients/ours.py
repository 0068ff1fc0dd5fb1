"""tv_etl: Arrow tables, a committed lake, or the list of bars of the client's API."""

import asyncio

import numpy as np
import pyarrow as pa

from benchmarks.clients.work import Work, main
from tv_etl.collect.ask import Ask, newest
from tv_etl.collect.collection import Stored, carry_out, plan
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.blocking import fetch_history
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.ohlcv import OHLCV
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings

pa.array(np.zeros(1))  # imports pandas where there is one


def requests(work: Work) -> list[HistoryRequest]:
    return [HistoryRequest(symbol, "1m", bars_count=work.bars) for symbol in work.symbols]


def to_arrow(work: Work) -> int:
    """Keep all tables."""
    answers = [answer for _, answer in fetch_history(requests(work), ws_url=work.url)]
    return sum(answer.num_rows for answer in answers if isinstance(answer, pa.Table))


def to_lake(work: Work) -> int:
    """Through `collect` into an empty lake, as `tv-etl fetch --lake` does it: judged, joined, committed, synced."""
    store = BarStore(work.directory)
    want = newest(SeriesSettings(), work.bars)
    wants = [(Series(symbol, Interval.parse("1m")), want) for symbol in work.symbols]
    asks = [each for each in plan(store, wants, 0.0) if isinstance(each, Ask)]
    bars = 0
    for outcome in carry_out(store, asks, lambda asked: fetch_history(asked, ws_url=work.url)):
        assert isinstance(outcome, Stored), outcome
        bars += outcome.commit.added
    return bars


def to_bars(work: Work) -> int:
    """A list of `OHLCVBar` for each symbol."""

    async def fetch() -> int:
        async with OHLCV(work.url, timeout_s=120.0) as client:
            calls = (client.get_historical_ohlcv(symbol, "1", work.bars) for symbol in work.symbols)
            return sum(map(len, await asyncio.gather(*calls)))

    return asyncio.run(fetch())


if __name__ == "__main__":
    main({"arrow": to_arrow, "lake": to_lake, "bars": to_bars})
