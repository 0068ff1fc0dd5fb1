"""One chart session: its commands, and the messages that answer them. Sans I/O.

The order inside an answer is the recordings': series_loading, symbol_resolved, timescale_update, series_completed;
an unknown symbol gives series_loading, symbol_error, series_error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from tv_etl.market_server.market.listings import denied_name, symbol_info, update_mode
from tv_etl.market_server.market.market import BarSource
from tv_etl.market_server.market.timescale import BarsText, joined
from tv_etl.market_server.sessions.faults import FAULTS, is_whole
from tv_etl.market_server.sessions.parameters import check_parameters, critical_error
from tv_etl.market_server.sessions.ranges import InvalidParameters, Range, parse_range, parse_resolution
from tv_etl.market_server.sessions.send_queue import Hangup, Packet, SendQueue
from tv_etl.market_server.sessions.series import ServedSeries, first_bar_time
from tv_etl.market_server.sessions.studies import Study, is_known, metadata, study_points
from tv_etl.market_server.sessions.updates import (
    first_update,
    forming_update,
    new_bar_update,
    newer_update,
    older_update,
    tick_marks_to_come,
)
from tv_etl.market_server.sessions.world import World
from tv_etl.tradingview.errors import SymbolError
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.protocol import encode_message
from tv_etl.tradingview.symbols import decode_spec

# What needs a look at the data is answered a little later than what does not: a series_loading overtakes the
# symbol_resolved of a resolve_symbol sent just before.
WORK_S = 0.005

_NO_NODE = "undefined"
_EXCHANGE_ZONE = "exchange"
_INVALID_SYMBOL = ("invalid symbol",)
_IGNORED = frozenset({"set_future_tickmarks_mode", "request_data_problems"})


class CriticalError(ValueError):
    """A command that the session answers with a critical_error of this reason."""


@dataclass(frozen=True)
class _Resolved:
    symbol: str
    source: BarSource | None
    reason: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


class ChartSession:
    """The server's side of one `cs_...`."""

    def __init__(self, session: str, world: World, queue: SendQueue) -> None:
        self.id = session
        self._world = world
        self._queue = queue
        self._zone = "Etc/UTC"
        self._symbols: dict[str, _Resolved] = {}
        self._series: dict[str, ServedSeries] = {}
        self._studies: dict[str, Study] = {}
        self._cut: set[str] = set()  # the series whose last answer a fault kept from its end

    def obey(self, method: str, params: Sequence[Any]) -> None:
        """Carry out a command; `params` are those behind the session id."""
        try:
            if method in _IGNORED:
                return
            handler = getattr(self, f"_on_{method}", None)
            if handler is None:
                raise CriticalError("unsupported method")
            check_parameters(handler, params)
            handler(*params)
        except InvalidParameters:
            self._refuse("invalid parameters", method, params)
        except CriticalError as error:
            self._refuse(str(error), method, params)

    def tick(self) -> None:
        """Send what changed since the last time: du for a forming bar, timescale_update for a new one."""
        for series in self._series.values():
            fault = FAULTS.get(series.symbol)
            if series.is_complete and (fault is None or fault.is_live):
                self._send_changes(series)

    # --- commands ---------------------------------------------------------------------------------------------

    def _on_switch_timezone(self, zone: str) -> None:
        try:
            if zone != _EXCHANGE_ZONE:
                ZoneInfo(zone)
        except (KeyError, OSError, ValueError):  # not found; a folder's name; not a name at all
            raise CriticalError("invalid timezone") from None
        self._zone = zone
        for series in self._series.values():
            series.zone = self._zone_of(series.source)
            if series.source is not None and len(series.rows):
                scale = {"index": series.first_index, "zoffset": -series.first_index, "changes": []}
                scale |= {"marks": joined(series.marks(self._now(series)))}
                self._put([self._text("tickmark_update", [scale])])

    def _on_resolve_symbol(self, symbol_id: str, spec: str) -> None:
        if symbol_id in self._symbols:
            raise CriticalError("duplicate id")
        resolved, info = self._resolve(spec)
        self._symbols[symbol_id] = resolved
        if resolved.source is None:
            self._put([self._text("symbol_error", [symbol_id, *resolved.reason], is_timed=True)], WORK_S)
        else:
            self._put([self._text("symbol_resolved", [symbol_id, info], is_timed=True)], WORK_S)

    def _on_create_series(
        self, series_id: str, turnaround: str, symbol_id: str, resolution: str, count: Any, frame: str = ""
    ) -> None:
        interval = parse_resolution(resolution)
        wanted = parse_range(count, frame)
        if series_id in self._series:
            raise CriticalError("duplicate id")
        if len(self._series) >= self._world.plan.series_per_session:
            raise CriticalError("exceed limit of series in the session")
        if symbol_id not in self._symbols:
            raise InvalidParameters
        self._series[series_id] = self._new_series(series_id, turnaround, symbol_id, interval)
        self._answer_load(self._series[series_id], wanted, resolution)

    def _on_modify_series(
        self, series_id: str, turnaround: str, symbol_id: str, resolution: str, count: Any, frame: str = ""
    ) -> None:
        interval = parse_resolution(resolution)
        wanted = parse_range(count, frame)
        series = self._series.get(series_id)
        if series is None or symbol_id not in self._symbols:
            raise InvalidParameters
        is_same = series.symbol_id == symbol_id and series.interval == interval and series.source is not None
        series.turnaround = turnaround
        if is_same and wanted.frame:
            self._answer_frame(series, wanted)
            return
        fresh = self._new_series(series_id, turnaround, symbol_id, interval)
        self._series[series_id] = fresh
        if not (wanted.count or wanted.frame or wanted.before or wanted.start):
            wanted = Range(series.count or 300)
        self._answer_load(fresh, wanted, resolution)

    def _on_request_more_data(self, series_id: str, count: int) -> None:
        series = self._series.get(series_id)
        if series is None or not isinstance(count, int) or not count:
            raise InvalidParameters
        if count < 0:
            self._answer_newer(series, -count)
            return
        older = series.load_older(self._world.plan, self._world.texts, self._now(series), count=count)
        update = [] if older is None else [self._older_update(series, older)]
        self._answer(series, [self._loading(series), *update, self._completed(series)])
        if older is not None:
            self._reload_studies(series)

    def _on_request_more_tickmarks(self, series_id: str, count: int) -> None:
        series = self._series.get(series_id)
        if series is None or series.source is None or not isinstance(count, int) or not len(series.rows):
            raise InvalidParameters
        self._put([self._update(tick_marks_to_come(series, count))], WORK_S)

    def _on_remove_series(self, series_id: str) -> None:
        if self._series.pop(series_id, None) is None:
            raise InvalidParameters
        self._put([self._text("series_deleted", [series_id], is_timed=True)])

    def _on_get_first_bar_time(self, symbol_id: str, resolution: str) -> None:
        interval = parse_resolution(resolution)
        series, resolved = self._series.get(symbol_id), self._symbols.get(symbol_id)
        source = series.source if series else resolved.source if resolved else None
        if source is None or not source.supports(interval):
            raise InvalidParameters
        first = first_bar_time(source, interval, self._world.clock.now())
        self._put([self._text("first_bar_time", [symbol_id, first])], WORK_S)

    def _on_request_studies_metadata(self, *request: str) -> None:
        self._put([self._text("studies_metadata", [*request[:1], {"metainfo": metadata()}])], WORK_S)

    def _on_create_study(self, study_id: str, turnaround: str, series_id: str, name: str, *inputs: Any) -> None:
        if study_id in self._studies:
            raise CriticalError("duplicate id")
        self._studies[study_id] = Study(study_id, turnaround, series_id, name)
        self._run_study(self._studies[study_id])

    def _on_modify_study(self, study_id: str, turnaround: str, *inputs: Any) -> None:
        if study_id not in self._studies:
            raise InvalidParameters
        self._studies[study_id].turnaround = turnaround
        self._run_study(self._studies[study_id])

    def _on_remove_study(self, study_id: str) -> None:
        study = self._studies.pop(study_id, None)
        if study is None:
            raise InvalidParameters
        self._put([self._text("study_deleted", [study_id, self._study_turnaround(study)], is_timed=True)])

    # --- symbols ----------------------------------------------------------------------------------------------

    def _resolve(self, spec: str) -> tuple[_Resolved, dict[str, Any]]:
        try:
            fields = decode_spec(spec)
        except SymbolError:
            return _Resolved(spec, None, _INVALID_SYMBOL), {}
        symbol, session = fields["symbol"], fields.get("session")
        settings = {"adjustment": str(fields.get("adjustment")), "currency": str(fields.get("currency-id") or "")}
        source = self._world.find(symbol, session if isinstance(session, str) else "regular", **settings)
        if source is None or _wants_other_bars(spec):
            return _Resolved(symbol, None, _INVALID_SYMBOL), {}
        if source.listing.denial:
            reason = ("permission denied", source.listing.denial, denied_name(source.listing))
            return _Resolved(symbol, None, reason), {}
        info = symbol_info(source.listing, str(session), has_volume=source.has_volume)
        return _Resolved(symbol, source, settings=settings), info

    # --- series -----------------------------------------------------------------------------------------------

    def _new_series(self, series_id: str, turnaround: str, symbol_id: str, interval: Interval) -> ServedSeries:
        resolved = self._symbols[symbol_id]
        source = resolved.source
        if source is not None and not interval.is_intraday:
            # Days and wider bars are those of the regular session, whatever session was asked for.
            source = self._world.find(resolved.symbol, **resolved.settings)
        return ServedSeries(series_id, turnaround, symbol_id, resolved.symbol, interval, source, self._zone_of(source))

    def _zone_of(self, source: BarSource | None) -> str:
        if self._zone != _EXCHANGE_ZONE:
            return self._zone
        return "Etc/UTC" if source is None else source.listing.schedule.time_zone

    def _answer_load(self, series: ServedSeries, wanted: Range, resolution: str) -> None:
        reason, node = self._refusal(series, resolution)
        if reason:
            self._fail(series, reason, node)
            return
        fault = FAULTS.get(series.symbol)
        parts: list[BarsText] = []
        if fault is None or fault.has_bars:
            parts = series.load(wanted, self._world.plan, self._world.texts, self._now(series))
        answer = [self._loading(series)]
        covers = wanted.frame and len(series.rows)
        if covers:
            answer.append(self._timeframe(series, wanted, (0, len(series.rows) - 1), is_loaded=False))
        if len(series.rows):
            answer.append(self._update(first_update(series, parts, self._world.node_name)))
        if covers:
            answer.append(self._timeframe(series, wanted, series.frame_indexes(wanted), is_loaded=True))
        self._answer(series, [*answer, self._completed(series)])
        series.is_complete = True
        self._reload_studies(series)

    def _answer_frame(self, series: ServedSeries, wanted: Range) -> None:
        """The same series with another time frame: bars it has are not sent again."""
        answer, update = [self._loading(series)], []
        series.reached = ""
        start = series.start_of(wanted)
        if len(series.rows) and start is not None and start < series.rows[0, 0]:
            older = series.load_older(self._world.plan, self._world.texts, self._now(series), start=start)
            update = [] if older is None else [self._older_update(series, older)]
        if len(series.rows):
            indexes = series.frame_indexes(wanted)
            answer.append(self._timeframe(series, wanted, indexes, is_loaded=False))
            answer += [*update, self._timeframe(series, wanted, indexes, is_loaded=True)]
        self._answer(series, [*answer, self._completed(series)])
        if update:
            self._reload_studies(series)

    def _answer_newer(self, series: ServedSeries, count: int) -> None:
        """The bars after those of a range in the past, up to now: a client's replay steps so."""
        series.reached = ""
        newer = series.load_newer(self._now(series), count)
        update = [self._update(newer_update(series, newer, self._world.node_name))] if newer else []
        self._answer(series, [self._loading(series), *update, self._completed(series)])
        if newer:
            self._reload_studies(series)

    def _now(self, series: ServedSeries) -> float:
        """The moment up to which a series' feed is known."""
        return self._world.clock.now() - series.delay_s

    def _refusal(self, series: ServedSeries, resolution: str) -> tuple[str, str]:
        """The reason and the node of the series_error that a new series gets, ("", "") if it is served."""
        refusal = self._world.plan.refusal(series.interval)
        fault = FAULTS.get(series.symbol)
        if series.source is None:
            return "resolve error", self._world.node_name
        if refusal is not None:
            return refusal, _NO_NODE
        if fault is not None and fault.reason:
            return fault.reason, self._world.node_name
        if not series.source.supports(series.interval):
            return f"unsupported resolution: {series.symbol}, {resolution}", self._world.node_name
        return "", ""

    def _fail(self, series: ServedSeries, reason: str, node: str) -> None:
        series.source = None
        self._put([self._loading(series)])
        params = [series.id, series.turnaround, reason, node]
        self._put([self._text("series_error", params, is_timed=True)], WORK_S)
        for study in self._studies.values():
            if study.series_id == series.id:
                self._run_study(study)

    def _answer(self, series: ServedSeries, answer: list[str]) -> None:
        """Send an answer, the series_loading at its head at once and the rest after the work; or as a fault has it."""
        fault = FAULTS.get(series.symbol)
        if fault is None:
            self._put(answer[:1])
            self._put(answer[1:], WORK_S)
            return
        parcels = fault.parcels(answer, is_first=not series.is_complete)
        self._cut.discard(series.id)
        if not is_whole(answer, parcels):
            self._cut.add(series.id)
        if fault.cut_after_s:
            self._queue.put(f"{self.id} end", [Hangup(is_abrupt=True)], WORK_S + fault.cut_after_s)
        if parcels[:1] == [Packet(answer[0])]:
            self._put(answer[:1])
            parcels = parcels[1:]
        self._queue.put(self.id, parcels, WORK_S + fault.delay_s)

    def _send_changes(self, series: ServedSeries) -> None:
        known = series.end_index
        rows, first_index = series.changed_rows(self._now(series))
        for position in range(len(rows)):
            bar, index = rows[position : position + 1], first_index + position
            is_marked = bool(series.future) and series.future[0] <= bar[0, 0]
            series.future = [moment for moment in series.future if moment > bar[0, 0]]
            if index < known or is_marked:
                self._put([self._text("du", forming_update(series, bar, index))], WORK_S)
            else:
                self._put([self._update(new_bar_update(series, bar, index, self._world.node_name))], WORK_S)

    # --- texts ------------------------------------------------------------------------------------------------

    def _loading(self, series: ServedSeries) -> str:
        return self._text("series_loading", [series.id, series.turnaround], is_timed=True)

    def _timeframe(self, series: ServedSeries, wanted: Range, indexes: tuple[int, int], *, is_loaded: bool) -> str:
        return self._text("series_timeframe", [series.id, series.turnaround, *indexes, wanted.frame, is_loaded])

    def _older_update(self, series: ServedSeries, older: BarsText) -> str:
        has_studies = any(study.series_id == series.id for study in self._studies.values())
        now, node = self._now(series), self._world.node_name
        return self._update(older_update(series, older, node, now, has_studies=has_studies))

    def _update(self, params: list[Any]) -> str:
        return self._text("timescale_update", params, is_timed=True)

    def _completed(self, series: ServedSeries) -> str:
        extra: dict[str, Any] = {"rt_update_period": self._world.plan.rt_update_period}
        if series.reached:
            extra["data_completed"] = series.reached
        params = [series.id, update_mode(series.delay_s), series.turnaround, extra]
        return self._text("series_completed", params, is_timed=True)

    # --- studies ----------------------------------------------------------------------------------------------

    def _reload_studies(self, series: ServedSeries) -> None:
        for study in self._studies.values():
            if study.series_id == series.id:
                self._run_study(study)

    def _run_study(self, study: Study) -> None:
        """Answer a study once its series has bars, never before."""
        series = self._series.get(study.series_id)
        key = [study.id, self._study_turnaround(study)]
        if series is None or series.source is None or not is_known(study.name):
            error = [*key, "check study unexpected error", self._world.node_name]
            self._put([self._text("study_error", error, is_timed=True)], WORK_S)
            return
        if not series.is_complete or series.id in self._cut:
            return
        points = study_points(study.name, series.rows, series.first_index)
        entry = {"node": self._world.node_name, "st": points, "ns": {"d": "", "indexes": []}, "t": key[1]}
        self._put([self._text("study_loading", key, is_timed=True)])
        update = self._text("du", [{study.id: entry}])
        self._put([update, self._text("study_completed", key, is_timed=True)], WORK_S)

    def _study_turnaround(self, study: Study) -> str:
        series = self._series.get(study.series_id)
        return f"{series.turnaround}_{study.turnaround}" if series is not None else study.turnaround

    # --- sending ----------------------------------------------------------------------------------------------

    def _text(self, method: str, params: list[Any], *, is_timed: bool = False) -> str:
        time_ms = self._world.time_ms() if is_timed else None
        return encode_message(method, [self.id, *params], time_ms=time_ms)

    def _put(self, texts: Sequence[str], delay_s: float = 0.0) -> None:
        # What needs no work does not wait behind what does.
        channel = self.id if delay_s else f"{self.id} at once"
        self._queue.put(channel, [Packet(text) for text in texts], delay_s)

    def _refuse(self, reason: str, method: str, params: Sequence[Any]) -> None:
        self._put([critical_error(self.id, reason, method, params)])


def _wants_other_bars(spec: str) -> bool:
    """True for bars that are not served: of a chart `type` such as Heikin Ashi, or of a `replay`."""
    fields = json.loads(spec[1:]) if spec.startswith("=") else {}
    return not {"type", "replay"}.isdisjoint(fields)
