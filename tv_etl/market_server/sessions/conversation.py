"""One client's connection: hello, authentication, sessions, heartbeats. Sans I/O.

receive_text(text)     feed what one WebSocket message held
advance()              let time pass: heartbeats, live updates
take_due()             the WebSocket messages to send now, and perhaps the end of the connection
next_due()             when to come back
close()                the connection has ended
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from tv_etl.market_server.accounts.accounts import SignedIn, SignInRefused
from tv_etl.market_server.sessions.chart import ChartSession
from tv_etl.market_server.sessions.parameters import critical_error
from tv_etl.market_server.sessions.quotes import QuoteSession
from tv_etl.market_server.sessions.send_queue import Hangup, Packet, Parcel, SendQueue
from tv_etl.market_server.sessions.world import World
from tv_etl.tradingview.errors import ProtocolError
from tv_etl.tradingview.frames import encode_packet
from tv_etl.tradingview.protocol import Command, ServerProtocol, encode_message

# Clients that never echo are dropped after about a minute (PROTOCOL.md §1.4).
MAX_UNANSWERED_HEARTBEATS = 6

_CONNECTION = "connection"
_IGNORED = frozenset({"set_locale", "set_data_quality", "set_broker"})


class Conversation:
    """The server's side of one connection."""

    def __init__(self, world: World, number: int, *, heartbeat_s: float, update_s: float) -> None:
        self._anonymous_plan = world.plan
        self._world = replace(world)  # whose plan follows the connection's token
        self._signed_in = SignedIn()
        self._queue = SendQueue(world.latency_s, world.jitter_s, seed=number)
        self._protocol = ServerProtocol()
        self._sessions: dict[str, ChartSession | QuoteSession] = {}
        self._refused: set[str] = set()
        self._chart_creations: list[float] = []
        self._heartbeat_s, self._update_s = heartbeat_s, update_s
        self._heartbeats = 0
        self._next_heartbeat = world.wall() + heartbeat_s
        self._next_update = world.wall() + update_s
        self._is_over = False
        self._connection_commands: dict[str, Callable[..., None]] = {
            "set_auth_token": self._set_auth_token,
            "chart_create_session": self._create_chart_session,
            "quote_create_session": self._create_quote_session,
        }
        self._queue.put(_CONNECTION, [Packet(encode_packet(msgspec.json.encode(_hello(world, number)).decode()))])
        self._queue.stamp(world.wall(), world.wall())

    def receive_text(self, text: str) -> None:
        """Carry out the commands of one WebSocket message."""
        began = self._world.wall()
        try:
            self._protocol.receive_text(text)
        except ProtocolError:
            self._end("wrong data")
        for command in self._protocol.commands_received():
            if not self._is_over:
                self._obey(command)
        self._queue.stamp(began, self._world.wall())

    def advance(self) -> None:
        """Send the heartbeat and the changes of the market that are due."""
        now = self._world.wall()
        if self._is_over:
            return
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_s
            self._beat()
        if self._world.accounts.now() >= self._signed_in.expires_at:
            self._end("bad auth token")
        if now >= self._next_update and not self._is_over:
            self._next_update = now + self._update_s
            for session in self._sessions.values():
                session.tick()
        for session in self._behind():
            session.work()
        self._queue.stamp(now, self._world.wall())

    def take_due(self) -> list[str | bytes | Hangup]:
        """The WebSocket messages that are due, and perhaps a Hangup behind them."""
        return self._queue.take_due(self._world.wall())

    def next_due(self) -> float:
        """When `advance` and `take_due` will have something to do, by the wall clock."""
        if self._behind() and not self._is_over:
            return self._world.wall()
        waiting = self._queue.next_due()
        return min(moment for moment in (self._next_heartbeat, self._next_update, waiting) if moment is not None)

    def close(self) -> None:
        """Note that the connection has ended: its account has one fewer."""
        self._world.accounts.sign_out(self._signed_in)
        self._signed_in = SignedIn()

    def _behind(self) -> list[QuoteSession]:
        return [each for each in self._sessions.values() if isinstance(each, QuoteSession) and each.is_behind]

    def _beat(self) -> None:
        if self._heartbeats - self._protocol.heartbeats_received >= MAX_UNANSWERED_HEARTBEATS:
            self._is_over = True
            self._queue.put(_CONNECTION, [Hangup()])
            return
        self._heartbeats += 1
        self._queue.put(_CONNECTION, [Packet(encode_packet(f"~h~{self._heartbeats}"))])

    def _obey(self, command: Command) -> None:
        method, params = command.method, command.params
        if method in _IGNORED:
            return
        if not params or not isinstance(params[0], str):
            self._end("wrong data")
        elif method in self._connection_commands:
            self._connection_commands[method](*params)
        elif params[0] in self._refused:
            return  # it has been told why it does not exist; what was pipelined behind must not end the others
        elif params[0] not in self._sessions:
            self._end(f"{{unknown_session_id,{','.join(_erlang(value) for value in (method, *params))}}}")
        elif method in ("chart_delete_session", "quote_delete_session"):
            del self._sessions[params[0]]
        else:
            self._sessions[params[0]].obey(method, params[1:])

    def _set_auth_token(self, token: str, *rest: Any) -> None:
        try:
            self._signed_in = self._world.accounts.sign_in(token, self._signed_in)
        except SignInRefused as refused:
            self._end(str(refused))
        self._world.plan = self._signed_in.plan or self._anonymous_plan

    def _create_chart_session(self, session: str, *rest: Any) -> None:
        reason = "duplicate id" if session in self._sessions else ""
        if not reason and self._is_too_fast():
            reason = "max sessions rate reached"
            self._refused.add(session)
        if reason:
            self._put_error(critical_error(session, reason, "chart_create_session", rest))
            return
        self._refused.discard(session)
        self._sessions[session] = ChartSession(session, self._world, self._queue)

    def _create_quote_session(self, session: str, *rest: Any) -> None:
        if session in self._sessions:
            self._put_error(encode_message("critical_error", [session, "duplicate_id", "quote_create_session"]))
            return
        self._sessions[session] = QuoteSession(session, self._world, self._queue)

    def _is_too_fast(self) -> bool:
        """True if a chart session more would exceed the rate of creations within the last second."""
        rate = self._world.session_rate
        if rate is None:
            return False
        now = self._world.wall()
        # At a rate below one per second the window is as long as one creation takes.
        window_s = max(1.0, 1.0 / rate)
        self._chart_creations = [moment for moment in self._chart_creations if now - moment < window_s]
        if len(self._chart_creations) >= max(1, int(rate)):
            return True
        self._chart_creations.append(now)
        return False

    def _put_error(self, text: str) -> None:
        self._queue.put(_CONNECTION, [Packet(text)])

    def _end(self, reason: str) -> None:
        """Tell the client why, then hang up."""
        self._is_over = True
        parcels: list[Parcel] = [Packet(encode_message("protocol_error", [reason])), Hangup()]
        self._queue.put(_CONNECTION, parcels)


def _hello(world: World, number: int) -> dict[str, Any]:
    now_ms = world.time_ms()
    return {
        "session_id": f"0.{number}.1_tvetl-charts-free-1",
        "timestamp": now_ms // 1000,
        "timestampMs": now_ms,
        "release": "release_209-23",
        "studies_metadata_hash": "0fd29e4fdd03e654cf64f97efb4cd78bef47feac",
        "auth_scheme_vsn": 2,
        "protocol": "json",
        "via": "127.0.0.1:443",
        "javastudies": ["3.66"],
    }


def _erlang(value: Any) -> str:
    """A value as an Erlang term, the way the live server prints it in a protocol_error."""
    if isinstance(value, str):
        return f'<<"{value}">>'
    if isinstance(value, list):
        return f"[{','.join(_erlang(item) for item in value)}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool | int | float) else "#{}"
