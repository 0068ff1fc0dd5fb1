"""What a bar costs from the wire to Arrow, against the floor: `python benchmarks/decode.py`.

The floor is a typed msgspec decode that checks nothing, then one pass of np.fromiter: no framing, no events, no paging.
Each figure is the median of several runs in microseconds of CPU per bar; the ratios hold on any machine.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable

import msgspec
import numpy as np

from tv_etl.tradingview import protocol
from tv_etl.tradingview.history import to_table
from tv_etl.tradingview.models import HistoryRequest, SeriesHistory
from tv_etl.tradingview.paging import SERIES_ID, SeriesPager

BARS = 5_000
RUNS = 15
FIRST_S = 1_700_000_040


class _Point(msgspec.Struct, gc=False):
    v: tuple[float, float, float, float, float, float]


class _Series(msgspec.Struct):
    s: list[_Point]


class _Update(msgspec.Struct):
    p: tuple[str, dict[str, _Series], msgspec.Raw]


def main() -> None:
    text = answer()
    payload = text[text.index("{") :]
    floor = msgspec.json.Decoder(_Update)
    events = decode(text)
    history = fold(events)
    steps: dict[str, Callable[[], object]] = {
        "floor: typed decode": lambda: floor.decode(payload),
        "floor: typed decode, to numpy": lambda: to_numpy(floor.decode(payload)),
        "text to events": lambda: decode(text),
        "events to an answer": lambda: fold(events),
        "answer to Arrow": lambda: to_table(history),
        "text to Arrow": lambda: to_table(fold(decode(text))),
    }
    costs = measure(steps)
    reference = costs["floor: typed decode, to numpy"]
    for name, cost in costs.items():
        print(f"{name:32} {cost:6.2f} us/bar   {cost / reference:5.2f} x floor")


def answer() -> str:
    """One `timescale_update` as the live server writes it."""
    numbers = random.Random(7)
    rows = [
        [
            float(FIRST_S + 60 * i),
            *(round(100 + numbers.random(), 2) for _ in range(4)),
            float(numbers.randrange(10**6)),
        ]
        for i in range(BARS)
    ]
    series = {"node": "n-1", "s": [{"i": i, "v": row} for i, row in enumerate(rows)], "ns": {"d": "", "indexes": []}}
    scale = {"index": 0, "zoffset": 0, "changes": [row[0] for row in rows], "marks": [], "index_diff": []}
    status = {"t": "s1", "lbs": {"bar_close_time": FIRST_S + 60 * BARS}}
    return protocol.encode_message(
        "timescale_update", ["cs_1", {SERIES_ID: {**series, **status}}, scale], time_ms=(FIRST_S + 60 * BARS) * 1000
    )


def decode(text: str) -> list[protocol.Event]:
    client = protocol.ClientProtocol()
    client.receive_text(text)
    return client.events_received()


def fold(events: list[protocol.Event]) -> SeriesHistory:
    pager = SeriesPager(HistoryRequest("X:Y", "1m", bars_count=BARS), "cs_1", now_s=FIRST_S)
    pager.start()
    for event in [*events, protocol.SeriesCompleted("cs_1", SERIES_ID, "streaming", "")]:
        pager.receive(event)
    assert pager.history is not None and len(pager.history.rows) == BARS
    return pager.history


def to_numpy(update: _Update) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    points = update.p[1][SERIES_ID].s
    values = itertools.chain.from_iterable(point.v for point in points)
    return np.fromiter(values, np.float64, count=6 * len(points)).reshape(-1, 6)


def measure(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU time of each step in microseconds per bar; they take turns, so that none has a quieter machine."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(RUNS + 1):
        for name, step in steps.items():
            started = time.process_time()
            step()
            times[name].append(time.process_time() - started)
    # The first turn warms caches and imports.
    return {name: statistics.median(taken[1:]) / BARS * 1e6 for name, taken in times.items()}


if __name__ == "__main__":
    main()
