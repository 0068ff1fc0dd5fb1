"""A chart server that keeps to the protocol and to nothing else: whatever PROTOCOL.md leaves open, it does at random.

`Market` is the truth that it serves, `Habits` are the choices that it makes once, `LegalServer` is one of its
connections. It shares no code with the market server.
"""

import json
import random
from dataclasses import dataclass
from typing import Any, Literal

from tv_etl.tradingview.frames import PacketDecoder, encode_packet

WIDTH_S = 60
FIRST = 1_700_000_040


class Market:
    """One instrument's minute bars, with holes; the newest one changes until the clock passes its end."""

    def __init__(self, seed: int, held: int, coming: int, *, has_volume: bool) -> None:
        self.random = random.Random(seed)
        self.has_volume = has_volume
        self.times = [FIRST]
        while len(self.times) < held + coming:
            self.times.append(self.times[-1] + WIDTH_S * self.random.choice([1, 1, 1, 2, 40]))
        self.clock = self.times[held - 1] + self.random.uniform(0, 70)
        self.versions = dict.fromkeys(self.times, 0)
        self.held = self.existing = held

    @property
    def bars(self) -> list[int]:
        return self.times[: self.existing]

    def row(self, time: int) -> list[float]:
        """A bar as it is now, in the wire's form."""
        close = 100.0 + time // WIDTH_S % 7 + self.versions[time] / 4
        return [float(time), 100.0, close + 1, 99.5, close, *([self.versions[time] + 0.5] * self.has_volume)]

    def go_on(self) -> list[int]:
        """Let a moment pass; return the bars that changed, oldest first."""
        newest = self.bars[-1]
        before = self.clock
        self.clock += self.random.choice([0.1, 1, 20, 70])
        changed = []
        if before < newest + WIDTH_S and self.random.random() < 0.7:
            self.versions[newest] += 1
            changed.append(newest)
        while self.existing < len(self.times) and self.times[self.existing] <= self.clock:
            changed.append(self.times[self.existing])
            self.existing += 1
        return changed


@dataclass(frozen=True)
class Habits:
    """What a server does in its own way, within the protocol."""

    page: int = 1_000  # at most so many bars in an answer
    extra: int = 0  # more than asked
    window: int = 1_000  # the plan's
    says_end: bool = True
    completes: Literal["once", "twice", "empty first"] = "once"
    parameters: Literal[3, 4, 5] = 5
    resolves: Literal["first", "after loading", "after bars", "never"] = "after loading"
    close_time: Literal["given", "missing", "null", "empty"] = "given"
    tells_time: Literal["t_ms", "t", "both", "never"] = "both"
    numbers: Literal["floats", "integers"] = "floats"
    hello: Literal["first", "late", "never"] = "first"
    moments: Literal["inclusive", "exclusive", "ignored", "critical_error", "series_error"] = "inclusive"
    chatter: float = 0.3  # how often something else stands between two messages
    liveliness: float = 0.3  # how often the market moves between two messages
    late_updates: bool = False
    cuts: Literal["packets", "joined", "anywhere"] = "packets"


@dataclass
class _Series:
    symbol_id: str
    oldest: int  # index of the oldest bar sent
    is_newest: bool
    is_loaded: bool = False
    is_resolved: bool = False
    has_been_empty: bool = False


class LegalServer:
    """The server's end of one connection: feed it text, take what it says."""

    def __init__(self, market: Market, habits: Habits) -> None:
        self.market = market
        self.habits = habits
        self.commands: list[list[Any]] = []
        self._random = market.random
        self._packets = PacketDecoder()
        self._out: list[str] = []
        self._series: dict[str, _Series] = {}
        self._symbols: set[tuple[str, str]] = set()
        self._late: list[int] = []
        self.completed: list[dict[int, list[float]]] = []  # the market's bars at each series_completed
        if habits.hello == "first":
            self._hello()

    def receive(self, text: str) -> None:
        for payload in self._packets.feed(text):
            if not payload.startswith("~h~"):
                message = json.loads(payload)
                self.commands.append([message["m"], *message["p"]])
                self._obey(message["m"], message["p"])

    def messages(self) -> list[str]:
        """What has been said since, as WebSocket messages."""
        text, self._out = [encode_packet(payload) for payload in self._out], []
        if self.habits.cuts == "packets":
            return text
        whole = "".join(text)
        if self.habits.cuts == "joined":
            return [whole]
        places = sorted(self._random.randint(0, len(whole)) for _ in range(6))
        return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]

    def _obey(self, method: str, params: list[Any]) -> None:
        session = params[0]
        if method == "resolve_symbol":
            self._symbols.add((session, params[1]))
            if self.habits.resolves == "first":
                self._resolve(session, params[1])
        elif method == "create_series":
            assert (session, params[3]) in self._symbols
            self._create(session, params[3], params[5])
        elif method == "request_more_data":
            series = self._series[session]
            self._answer(session, series, params[2])
        elif method == "chart_delete_session":
            self._series.pop(session, None)

    def _create(self, session: str, symbol_id: str, span: Any) -> None:
        series = self._series[session] = _Series(symbol_id, self.market.existing, isinstance(span, int))
        if isinstance(span, int):
            self._answer(session, series, span)
            return
        word, moment, count = span
        assert word == "bar_count"
        if self.habits.moments == "critical_error":
            info = f'method: create_series. args: "[sds_1, s1, {symbol_id}, 1, {span}, ]"'
            self._put("critical_error", session, "invalid parameters", info, is_timed=False)
        elif self.habits.moments == "series_error":
            self._put("series_error", session, "sds_1", "s1", "unsupported range", "undefined")
        else:
            if self.habits.moments != "ignored":
                last = moment + (self.habits.moments == "inclusive")
                series.oldest = sum(time < last for time in self.market.bars)
            self._answer(session, series, count)

    def _answer(self, session: str, series: _Series, asked: int) -> None:
        habits = self.habits
        self._put("series_loading", session, "sds_1", "s1")
        if habits.resolves == "after loading" and not series.is_resolved:
            self._resolve(session, series.symbol_id)
        floor = max(self.market.held - habits.window, 0)
        if habits.completes == "empty first" and series.is_loaded and not series.has_been_empty:
            series.has_been_empty = True
            self._complete(session, "")
            return
        if series.is_newest and not series.is_loaded:
            series.oldest = self.market.existing
        series.is_loaded = True
        first = max(series.oldest - min(asked, habits.page) - habits.extra, floor)
        times = self.market.times[first : series.oldest]
        is_at_end = first == floor and (asked > series.oldest - first or not times)
        series.oldest = first
        self._snapshot(session, times)
        if habits.resolves == "after bars" and not series.is_resolved:
            self._resolve(session, series.symbol_id)
        word = ("limit" if floor else "end") if is_at_end and habits.says_end else ""
        self._complete(session, word)
        if habits.completes == "twice":
            self._complete(session, word)

    def _snapshot(self, session: str, times: list[int]) -> None:
        if not times and self._random.random() < 0.5:
            return
        changes = {"index": -len(times), "zoffset": 0, "changes": times, "marks": [], "index_diff": [[0, len(times)]]}
        content = {"sds_1": self._content(times, -len(times))} if times else {"sds_1": {}}
        self._put("timescale_update", session, content, changes)

    def _complete(self, session: str, word: str) -> None:
        extra = {"rt_update_period": 5, **({"data_completed": word} if word else {})}
        tail: list[Any] = ["streaming", "s1", extra][: 3 if word else self.habits.parameters - 2]
        self.completed.append({time: self.market.row(time) for time in self.market.bars})
        self._put("series_completed", session, "sds_1", *tail)

    def _resolve(self, session: str, symbol_id: str) -> None:
        for series in self._series.values():
            series.is_resolved = True
        self._put("symbol_resolved", session, symbol_id, {"pro_name": "X:Y", "timezone": "Asia/Tokyo", "legs": [None]})

    def _content(self, times: list[int], first: int) -> dict[str, Any]:
        rows = [self.market.row(time) for time in times]
        if self.habits.numbers == "integers":
            rows = [[int(value) if value == int(value) else value for value in row] for row in rows]
        close = self.market.bars[-1] + WIDTH_S
        endings: dict[str, dict[str, Any]] = {
            "given": {"lbs": {"bar_close_time": close}},
            "missing": {},
            "null": {"lbs": None},
            "empty": {"lbs": {}},
        }
        return {
            "node": "n",
            "s": [{"i": i, "v": row} for i, row in enumerate(rows, first)],
            "t": "s1",
            **endings[self.habits.close_time],
        }

    def _put(self, method: str, *params: Any, is_timed: bool = True) -> None:
        """Say something, and perhaps something else before it."""
        self._chat(str(params[0]))
        message: dict[str, Any] = {"m": method, "p": list(params)}
        if is_timed and self.habits.tells_time in ("t", "both"):
            message["t"] = int(self.market.clock)
        if is_timed and self.habits.tells_time in ("t_ms", "both"):
            message["t_ms"] = int(self.market.clock * 1000)
        self._out.append(json.dumps(message))
        if self._random.random() < self.habits.liveliness:
            self._live()

    def _live(self) -> None:
        """The market moves; every series that is loaded and reaches to now hears of it."""
        newest = self.market.bars[-1]
        changed = self.market.go_on()
        late, self._late = self._late, []
        if self.habits.late_updates and newest in changed and len(changed) > 1:
            changed.remove(newest)  # the last trade of a bar is told after the first of the next
            self._late = [newest]
        changed = sorted({*changed, *late})
        for session, series in self._series.items():
            if changed and series.is_loaded:
                content = {"sds_1": self._content(changed, 7), "st1": {"st": [{"i": -1_000_001, "v": [1e100]}]}}
                # A snapshot holds no bar that was not loaded; an update may be late, and of any bar.
                has_all = changed[0] >= self.market.times[series.oldest]
                method = self._random.choice(["du", "timescale_update"]) if has_all else "du"
                self._out.append(json.dumps({"m": method, "p": [session, content]}))

    def _chat(self, session: str) -> None:
        if self.habits.hello == "late" and self._random.random() < 0.2:
            self._hello()
        while self._random.random() < self.habits.chatter:
            row = [float(FIRST), 1.0, 1.0, 1.0, 1.0]
            other: list[Any] = [
                "~h~7",
                {"m": "timescale_update", "p": [session, {}, {"index": 300, "changes": [4e9], "index_diff": []}]},
                {"m": "timescale_update", "p": [session, {"st1": {"st": [{"i": -(10**9), "v": [0.5, 1e100]}]}}, {}]},
                {"m": "du", "p": [session, {"st2": {"st": [], "ns": {"d": '{"x":"~m~3~m~"}', "indexes": []}}}]},
                {"m": "du", "p": [session, {"sds_9": {"s": [{"i": 0, "v": row}]}}]},
                {"m": "series_timeframe", "p": [session, "sds_1", "s1", -224, 299, "r,1:2", False]},
                {"m": "study_completed", "p": [session, "st1", "s1_st1"]},
                {"m": "tickmark_update", "p": [session, {"marks": [[10, 1.0, 0]]}]},
                {"m": "series_completed", "p": ["cs_other", "sds_1", "streaming", "s1", {"data_completed": "end"}]},
                {"m": "series_completed", "p": [session, "sds_9", "streaming", "s1", {"data_completed": "end"}]},
                {"m": "critical_error", "p": ["cs_other", "exceed limit of series in the session", ""]},
                {"m": "timescale_update", "p": ["cs_other", {"sds_1": {"s": [{"i": 0, "v": row}]}}, {}]},
                {"m": "qsd", "p": ["qs_1", {"n": "삼성전자 😀", "s": "ok", "v": {"lp": None, "volume": 1e100}}]},
                {"m": "something_of_next_year", "p": {"protobuf": True}},
            ]
            choice = self._random.choice(other)
            self._out.append(choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False))

    def _hello(self) -> None:
        hello = {"session_id": "0.1.2_x", "timestamp": int(self.market.clock), "protocol": "json", "redirect": "x.y"}
        self._out.append(json.dumps(hello))
