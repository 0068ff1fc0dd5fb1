"""`python -m tv_etl.market_server`: serve a market until SIGINT or SIGTERM."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.faults import FAULTS
from tv_etl.market_server.market import Market
from tv_etl.market_server.replay import ReplayError, ReplayMarket
from tv_etl.market_server.server import serve_in_thread


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; stdout has two lines: the WebSocket's address, and that for plain HTTP requests."""
    parser = _parser()
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        market = Market(options.seed)
        served = market if options.replay is None else ReplayMarket(options.replay, market)
        with serve_in_thread(
            served,
            host=options.host,
            port=options.port,
            clock=MarketClock(options.now, options.speed),
            latency_ms=options.latency_ms,
            heartbeat_s=options.heartbeat_s,
            update_ms=options.update_ms,
            http_port=options.http_port,
            http_busy=options.http_busy,
        ) as server:
            print(server.url, server.http_url, sep="\n", flush=True)
            stop.wait()
    except (OSError, ReplayError) as error:
        print(f"market server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tv_etl.market_server",
        description="A synthetic market that speaks TradingView's chart protocol on loopback.",
        epilog="Faults are symbols: " + "; ".join(f"{name}: {fault.effect}" for name, fault in FAULTS.items()) + ".",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="port, 0 for a free one (%(default)s)")
    parser.add_argument("--http-port", type=int, default=0, help="port of the screener, 0 for a free one (%(default)s)")
    parser.add_argument("--http-busy", type=int, default=0, help="answer 429 to so many of the first HTTP requests")
    parser.add_argument("--seed", type=int, default=0, help="which market: the same seed gives the same bars")
    parser.add_argument("--now", type=_moment, help="ISO 8601 time the market's clock starts at (this machine's)")
    parser.add_argument("--speed", type=_not_negative, default=1.0, help="how fast the market's clock runs (1)")
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="serve the bars of EXCHANGE_TICKER_INTERVAL.csv or .parquet files, or of a lake",
    )
    parser.add_argument("--latency-ms", type=_not_negative, default=0.0, help="delay of everything sent (0)")
    parser.add_argument("--heartbeat-s", type=_positive, default=10.0, help="seconds between heartbeats (10)")
    parser.add_argument("--update-ms", type=_positive, default=1_000.0, help="real time between live updates (1000)")
    return parser


def _moment(text: str) -> float:
    try:
        # Python 3.10 does not read the Z of ISO 8601.
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time, e.g. 2026-11-20T15:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is not allowed")
    return value


if __name__ == "__main__":
    sys.exit(main())
