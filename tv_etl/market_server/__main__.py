"""`python -m tv_etl.market_server`: serve a market until SIGINT or SIGTERM."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from tv_etl.market_server.accounts.accounts import ACCOUNT_PLANS, BANS
from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.accounts.tokens import LIFETIME_S
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayError, ReplayMarket
from tv_etl.market_server.server import serve_in_thread
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.tradingview.errors import MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop.

    stdout has two lines: the WebSocket's address, and that for plain HTTP requests; with --tls a third, the file with
    the authority that clients are to trust.
    """
    options = _parser().parse_args(arguments)
    if options.list_faults:
        for name, fault in FAULTS.items():
            print(f"{name:24}{fault.effect}")
        return 0
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
            plan=PLANS[options.plan],
            account_plan=PLANS[options.account_plan],
            account_connections=options.account_connections,
            token_lifetime_s=options.token_lifetime_s,
            ban=options.ban,
            max_connections=options.max_connections,
            rate_limit=options.rate_limit,
            session_rate=options.session_rate,
            tls=options.tls,
            latency_ms=options.latency_ms,
            jitter_ms=options.jitter_ms,
            heartbeat_s=options.heartbeat_s,
            update_ms=options.update_ms,
            http_port=options.http_port,
            http_busy=options.http_busy,
        ) as server:
            print(server.url, server.http_url, *filter(None, [server.ca_path]), sep="\n", flush=True)
            stop.wait()
    except (OSError, ReplayError, MissingExtraError) as error:
        print(f"market server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tv_etl.market_server",
        description="A synthetic market that speaks TradingView's chart protocol on loopback.",
        epilog="stdout names the address of the WebSocket, that of the screener and the pages and, with --tls, the "
        "file with the authority to trust (SSL_CERT_FILE). Faults are symbols such as FAULT:DROP: see --list-faults.",
    )
    parser.add_argument("--list-faults", action="store_true", help="list the faults with what they do, and end")
    where = parser.add_argument_group("where it listens")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    where.add_argument("--port", type=int, default=8765, help="port, 0 for a free one (%(default)s)")
    where.add_argument(
        "--http-port", type=int, default=0, help="port of the screener and the pages, 0 for a free one (%(default)s)"
    )
    where.add_argument("--tls", action="store_true", help="encrypt both, with a certificate made for this run")
    market = parser.add_argument_group("which market")
    market.add_argument("--seed", type=int, default=0, help="the same seed gives the same bars (0)")
    market.add_argument("--now", type=_moment, help="ISO 8601 time the market's clock starts at (this machine's)")
    market.add_argument("--speed", type=_not_negative, default=1.0, help="how fast the market's clock runs (1)")
    market.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="serve the bars of EXCHANGE_TICKER_INTERVAL.csv or .parquet files, or of a lake",
    )
    _add_account_options(parser)
    _add_pace_options(parser)
    return parser


def _add_account_options(parser: argparse.ArgumentParser) -> None:
    accounts = parser.add_argument_group("accounts")
    accounts.add_argument(
        "--plan", choices=PLANS, default="anonymous", help="what nobody's connection gets (%(default)s)"
    )
    accounts.add_argument(
        "--account-plan",
        choices=ACCOUNT_PLANS,
        default="premium",
        help="of a session that names no other (%(default)s)",
    )
    accounts.add_argument(
        "--account-connections", type=_count, metavar="N",
        help="WebSockets an account may have open; more get \"user connections limit reached\" (its plan's number)",
    )  # fmt: skip
    accounts.add_argument("--token-lifetime-s", type=_positive, default=LIFETIME_S, help="seconds (%(default)g)")
    accounts.add_argument("--ban", choices=BANS, help="turn everybody away, every account, or the address")


def _add_pace_options(parser: argparse.ArgumentParser) -> None:
    pace = parser.add_argument_group("pace and limits")
    pace.add_argument("--latency-ms", type=_not_negative, default=0.0, help="delay of everything sent (0)")
    pace.add_argument("--jitter-ms", type=_not_negative, default=0.0, help="up to so much more on top, at random (0)")
    pace.add_argument("--heartbeat-s", type=_positive, default=10.0, help="seconds between heartbeats (10)")
    pace.add_argument("--update-ms", type=_positive, default=1_000.0, help="real time between live updates (1000)")
    pace.add_argument(
        "--max-connections", type=_count, metavar="N", help="WebSockets open from one address; more get HTTP 429"
    )
    pace.add_argument(
        "--rate-limit", type=_count, metavar="N", help="WebSockets opened per minute and address; more get HTTP 429"
    )
    pace.add_argument(
        "--session-rate", type=_positive, metavar="N",
        help="chart sessions created per second and connection; more get \"max sessions rate reached\"",
    )  # fmt: skip
    pace.add_argument("--http-busy", type=_count, default=0, metavar="N", help="answer 429 to the first HTTP requests")


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
        raise argparse.ArgumentTypeError(f"{text} is negative or no number")
    return value


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is not allowed")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
