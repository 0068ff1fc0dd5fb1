"""Live quotes for a minute, or as many seconds as are given."""

import asyncio
import sys
from contextlib import aclosing

from tv_etl.tradingview import OHLCV

SYMBOLS = ["NASDAQ:AAPL", "BINANCE:BTCUSDT"]


async def watch() -> None:
    async with OHLCV() as client, aclosing(client.get_latest_trade_info(SYMBOLS)) as messages:
        async for message in messages:
            quote = message["p"][1]
            if shown := quote.get("errmsg", quote.get("lp")):  # neither until a price is known
                print(quote["n"], shown, flush=True)


async def main(seconds: float) -> None:
    try:
        await asyncio.wait_for(watch(), seconds)
    except asyncio.TimeoutError:
        print(f"stopped after {seconds:g} seconds")


asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
