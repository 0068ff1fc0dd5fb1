"""tvkit's batch download, without its HTTP check of every symbol: lists of bars, or Parquet by way of Polars."""

import asyncio
from pathlib import Path
from typing import Any

import tvkit.api.chart.ohlcv as tvkit_ohlcv
from tvkit.batch import BatchDownloadRequest, batch_download
from tvkit.export import DataExporter

from benchmarks.clients.work import Work, main

CONCURRENCY = 10  # connections; of 5, 10, 20 and 50 the fastest without a delay, and as fast as any with one


async def download(work: Work) -> list[Any]:
    async def trusts(symbols: Any) -> bool:
        return True

    # The addresses and the check stand inside the package.
    tvkit_ohlcv._STANDARD_WS_URL = tvkit_ohlcv._PRO_WS_URL = f"{work.url}?from=chart%2F"
    tvkit_ohlcv.validate_symbols = trusts
    request = BatchDownloadRequest(
        symbols=work.symbols, interval="1", bars_count=work.bars, concurrency=CONCURRENCY, strict=True
    )
    return list((await batch_download(request)).results)


def to_bars(work: Work) -> int:
    """Its list of bars for each symbol."""
    return sum(len(result.bars) for result in asyncio.run(download(work)))


def to_parquet(work: Work) -> int:
    """A file for each symbol from its Polars frame."""

    async def run() -> int:
        exporter, bars = DataExporter(), 0
        for result in await download(work):
            frame = await exporter.to_polars(result.bars)
            frame.write_parquet(Path(work.directory, f"{result.symbol.replace(':', '_')}.parquet"))
            bars += len(frame)
        return bars

    return asyncio.run(run())


if __name__ == "__main__":
    main({"bars": to_bars, "parquet": to_parquet})
