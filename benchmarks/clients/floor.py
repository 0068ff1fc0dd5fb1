"""The least that Python can do: websockets, a typed msgspec decode, np.fromiter; no check, and nothing is forgiven."""

import asyncio
import itertools
import json
import operator
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from benchmarks.clients.work import Work, main

Row = tuple[float, float, float, float, float, float]


class Point(msgspec.Struct, gc=False):
    """A bar as it is sent."""

    v: Row


class Series(msgspec.Struct):
    """What a message holds of a series."""

    s: list[Point]


class Update(msgspec.Struct):
    """A `timescale_update`."""

    p: tuple[str, dict[str, Series], msgspec.Raw]


SCHEMA = pa.schema([("timestamp", pa.timestamp("us", "UTC")), *((name, pa.float64()) for name in "ohlcv")])

_VALUES = operator.attrgetter("v")
_FLOATS = itertools.chain.from_iterable


async def fetch(work: Work, put: Callable[[str, pa.Table], None]) -> int:
    """Open a session for every symbol at once and `put` each answer."""
    async with connect(work.url, max_size=None, origin=Origin("https://www.tradingview.com")) as socket:
        await socket.recv()
        await send(socket, "set_auth_token", "unauthorized_user_token")
        sessions = {f"cs_{number:012d}": symbol for number, symbol in enumerate(work.symbols)}
        for session, symbol in sessions.items():
            await send(socket, "chart_create_session", session, "")
            spec = json.dumps({"symbol": symbol, "adjustment": "splits"}, separators=(",", ":"))
            await send(socket, "resolve_symbol", session, "symbol", f"={spec}")
            await send(socket, "create_series", session, "sds_1", "s1", "symbol", "1", work.bars, "")
        decoder = msgspec.json.Decoder(Update)
        bars = answered = 0
        while answered < len(sessions):
            for payload in packets(str(await socket.recv())):
                if payload.startswith("~h~"):
                    await socket.send(f"~m~{len(payload)}~m~{payload}")
                elif payload.startswith('{"m":"timescale_update"'):
                    session, series, _ = decoder.decode(payload).p
                    if "sds_1" in series:
                        table = to_table(series["sds_1"].s)
                        bars += table.num_rows
                        put(sessions[session], table)
                elif payload.startswith('{"m":"series_completed"'):
                    answered += 1
        return bars


async def send(socket: ClientConnection, method: str, *params: object) -> None:
    text = json.dumps({"m": method, "p": params}, separators=(",", ":"))
    await socket.send(f"~m~{len(text)}~m~{text}")


def packets(text: str) -> list[str]:
    found, position = [], 0
    while position < len(text):
        end = text.index("~m~", position + 3)
        length = int(text[position + 3 : end])
        found.append(text[end + 3 : end + 3 + length])
        position = end + 3 + length
    return found


def to_table(points: list[Point]) -> pa.Table:
    values = np.fromiter(_FLOATS(map(_VALUES, points)), np.float64, 6 * len(points)).reshape(-1, 6)
    times = (values[:, 0] * 1e6).astype(np.int64)
    numbers = [times, *np.ascontiguousarray(values.T[1:])]
    columns = [
        pa.Array.from_buffers(field.type, len(points), [None, pa.py_buffer(column)])
        for field, column in zip(SCHEMA, numbers, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def to_arrow(work: Work) -> int:
    """Keep all tables."""
    tables: list[pa.Table] = []
    return asyncio.run(fetch(work, lambda symbol, table: tables.append(table)))


def to_parquet(work: Work) -> int:
    """A file each, zstd, as fast as it can be written: neither synced nor renamed, no record, no second bar."""

    def write(symbol: str, table: pa.Table) -> None:
        pq.write_table(table, Path(work.directory, f"{symbol.replace(':', '_')}.parquet"), compression="zstd")

    return asyncio.run(fetch(work, write))


if __name__ == "__main__":
    main({"arrow": to_arrow, "parquet": to_parquet})
