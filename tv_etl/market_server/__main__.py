"""`python -m tv_etl.market_server`: serve a market until SIGINT or SIGTERM."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tv_etl.market_server.accounts.accounts import ACCOUNT_PLANS, BANS
from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.market import Market
from tv_etl.market_server.market.replay import ReplayError, ReplayMarket
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.tradingview.errors import MissingExtraError

PORT = 8765  # where nothing else is said: a command line's address should be the same every time


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop.

    stdout gets two lines: the address of the WebSocket, and that for plain HTTP requests; with --tls a third, the file
    with the certificate authority that clients are to trust.
    """
    given = vars(_parser().parse_args(arguments))
    if given.pop("list_faults"):
        for name, fault in FAULTS.items():
            print(f"{name:24}{fault.effect}")
        return 0
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        market, folder = Market(given.pop("seed")), given.pop("replay")
        served = market if folder is None else ReplayMarket(folder, market)
        clock = MarketClock(given.pop("now"), given.pop("speed"))
        with serve_in_thread(served, ServerOptions(clock=clock, **given)) as server:
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
        epilog="stdout gives the address of the WebSocket, that of the screener and the pages and, with --tls, the "
        "file with the certificate authority to trust (SSL_CERT_FILE). Faults are symbols such as FAULT:DROP: see "
        "--list-faults.",
    )
    parser.add_argument("--list-faults", action="store_true", help="list the faults and what they do, then exit")
    where = parser.add_argument_group("where it listens")
    where.add_argument("--host", default=ServerOptions.host, help="address to listen on (%(default)s)")
    _add(where, "port", int, "port, 0 for a free one (%(default)s)")
    _add(where, "http_port", int, "port of the screener, the search and the pages, 0 for a free one (%(default)s)")
    where.add_argument("--tls", action="store_true", help="encrypt both, with a certificate made for this run")
    market = parser.add_argument_group("which market")
    market.add_argument("--seed", type=int, default=0, help="the same seed gives the same bars (0)")
    market.add_argument("--now", type=_moment, help="time at which the market's clock starts, ISO 8601 (now)")
    market.add_argument("--speed", type=_speed, default=1.0, help="how fast the market's clock runs (1)")
    market.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="serve the bars in files EXCHANGE_TICKER_INTERVAL.csv or .parquet, or in a lake",
    )
    _add_account_options(parser)
    _add_pace_options(parser)
    parser.set_defaults(port=PORT)
    return parser


def _add_account_options(parser: argparse.ArgumentParser) -> None:
    accounts = parser.add_argument_group("accounts")
    accounts.add_argument(
        "--plan",
        choices=PLANS,
        default=ServerOptions.plan,
        help="plan of a connection without an account (%(default)s)",
    )
    accounts.add_argument(
        "--account-plan",
        choices=ACCOUNT_PLANS,
        default=ServerOptions.account_plan,
        help="plan of an account whose session names no other (%(default)s)",
    )
    _add(
        accounts, "account_connections", int,
        "WebSockets an account may have open; more get \"user connections limit reached\" (its plan's number)", "N",
    )  # fmt: skip
    _add(accounts, "token_lifetime_s", float, "how long a token is valid, in seconds (%(default)g)")
    accounts.add_argument("--ban", choices=BANS, help="turn away everybody, every account, or the address")


def _add_pace_options(parser: argparse.ArgumentParser) -> None:
    pace = parser.add_argument_group("pace and limits")
    _add(pace, "latency_ms", float, "delay of everything sent (%(default)g)")
    _add(pace, "jitter_ms", float, "up to this much more, at random (%(default)g)")
    _add(pace, "heartbeat_s", float, "seconds between heartbeats (%(default)g)")
    _add(pace, "update_ms", float, "real time between live updates (%(default)g)")
    _add(pace, "max_connections", int, "WebSockets open from one address; more get HTTP 429", "N")
    _add(pace, "rate_limit", int, "WebSockets opened per minute and address; more get HTTP 429", "N")
    _add(
        pace, "session_rate", float,
        "chart sessions created per second and connection; more get \"max sessions rate reached\"", "N",
    )  # fmt: skip
    _add(pace, "http_busy", int, "answer the first N HTTP requests with 429", "N")


def _add(
    group: "argparse._ArgumentGroup", name: str, kind: type[int] | type[float], text: str, metavar: str | None = None
) -> None:
    """Add the option of a number among ServerOptions: its default and its limits are declared there."""

    def read(given: str) -> Any:
        try:
            return getattr(ServerOptions(**{name: _number(given, kind)}), name)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    flag = f"--{name.replace('_', '-')}"
    group.add_argument(flag, type=read, default=getattr(ServerOptions, name), metavar=metavar, help=text)


def _number(text: str, kind: type[int] | type[float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' if kind is int else ''}number") from None


def _speed(text: str) -> float:
    speed: float = _number(text, float)
    try:
        MarketClock(speed=speed)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return speed


def _moment(text: str) -> float:
    try:
        # Python 3.10 does not read the Z of ISO 8601.
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 time, e.g. 2026-11-20T15:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


if __name__ == "__main__":
    sys.exit(main())
