"""A client's side of a Conversation, without a socket: time passes only when the test says so."""

import json
from typing import Any

from tv_etl.market_server.accounts.accounts import Accounts
from tv_etl.market_server.accounts.plans import ANONYMOUS, Plan
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.market.listings import Listing
from tv_etl.market_server.market.market import BarSource, Market
from tv_etl.market_server.sessions.conversation import Conversation
from tv_etl.market_server.sessions.send_queue import Hangup
from tv_etl.market_server.sessions.world import AnyMarket, World
from tv_etl.tradingview.frames import PacketDecoder, encode_packet

# 2026-11-20, a Friday, 13:00 in New York.
FRIDAY_NOON = 1_795_197_600.0
ANONYMOUS_TOKEN = "unauthorized_user_token"

Message = dict[str, Any]


class StillClock(MarketClock):
    """A market's clock that moves only by hand."""

    def __init__(self, now: float = FRIDAY_NOON) -> None:
        super().__init__(now, 0)
        self.moment = now

    def now(self) -> float:
        return self.moment


class MarketWith(Market):
    """The synthetic market and some listings more."""

    def __init__(self, *more: Listing) -> None:
        super().__init__(7)
        self._more = {listing.symbol: listing for listing in more}

    def find(self, symbol: str, session: str = "regular", **settings: Any) -> BarSource | None:
        more = self._more.get(symbol)
        return super().find(symbol, session) if more is None else self.source_of(more, session)


class Talk:
    """Commands out, messages in."""

    def __init__(
        self,
        market: AnyMarket | None = None,
        *,
        plan: Plan = ANONYMOUS,
        now: float = FRIDAY_NOON,
        latency_s: float = 0.0,
        heartbeat_s: float = 10.0,
        update_s: float = 1.0,
        session_rate: float | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.wall = 100.0
        self.clock = StillClock(now)
        self.world = World(
            market or Market(7), self.clock, lambda: self.wall, plan, latency_s, session_rate=session_rate
        )
        if accounts is not None:
            self.world.accounts = accounts
        self.conversation = Conversation(self.world, 1, heartbeat_s=heartbeat_s, update_s=update_s)
        self.decoder = PacketDecoder()
        self.texts: list[str] = []
        self.hangups: list[Hangup] = []
        self.payloads: list[str] = []

    def say(self, *commands: tuple[Any, ...]) -> list[Message]:
        """Send commands in one WebSocket message; returns the messages that answer within 10 ms."""
        text = "".join(encode_packet(json.dumps({"m": method, "p": params})) for method, *params in commands)
        self.conversation.receive_text(text)
        return self.wait(0.01)

    def wait(self, seconds: float, market_seconds: float = 0.0) -> list[Message]:
        """Let time pass and return the messages that came."""
        self.wall += seconds
        self.clock.moment += market_seconds
        self.conversation.advance()
        # Answers to what advance found out take their few milliseconds of work.
        self.wall += 0.006
        payloads: list[str] = []
        for text in self.conversation.take_due():
            if isinstance(text, Hangup):
                self.hangups.append(text)
            else:
                self.texts.append(text if isinstance(text, str) else text.decode())
                payloads += self.decoder.feed(self.texts[-1])
        self.payloads += payloads
        return [json.loads(payload) for payload in payloads if payload.startswith('{"m"')]

    def open_chart(
        self, symbol: str = "NASDAQ:AAPL", interval: str = "1D", count: Any = 5, *frame: str, session: str = "cs_1"
    ) -> list[Message]:
        """Ask for one series the way a client does."""
        return self.say(
            ("set_auth_token", ANONYMOUS_TOKEN),
            ("chart_create_session", session, ""),
            ("resolve_symbol", session, "sym_1", symbol),
            ("create_series", session, "sds_1", "s1", "sym_1", interval, count, *frame),
        )


def methods(messages: list[Message]) -> list[str]:
    """What the messages are, in order."""
    return [message["m"] for message in messages]


def only(messages: list[Message], method: str) -> Message:
    """The one message of a method."""
    found = [message for message in messages if message["m"] == method]
    assert len(found) == 1, methods(messages)
    return found[0]


def bars(message: Message, series: str = "sds_1") -> list[list[float]]:
    """The rows of a timescale_update or du."""
    return [point["v"] for point in message["p"][1][series]["s"]]


def indexes(message: Message, series: str = "sds_1") -> list[int]:
    """The indices of a timescale_update or du."""
    return [point["i"] for point in message["p"][1][series]["s"]]


def shape(value: Any) -> Any:
    """What a message is made of: keys in order, types, the first item of a list."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value[:6]]
    return type(value)
