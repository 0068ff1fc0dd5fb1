"""What a slow disk and a far bucket cost: `python -m benchmarks.slow_storage`.

    200 increments, each sync of the disk 5 ms late                  <= 2 s
    100 increments in a bucket, each request 30 ms away              <= 5 s
    the records of 2,000 series there, as a schedule reads them      <= 10 s
    their status, and a scan of 100 of them                          (no promise)

The answers are at hand: what is measured begins with them. The disk is a directory here, whose `fsync` sleeps first: a
library that is loaded before the system's, so it takes a C compiler. The bucket is an S3 in memory, in a process of its
own, that answers each request after a while.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from hashlib import md5
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import pyarrow as pa

from tv_etl.collect.ask import Ask, increment
from tv_etl.collect.collection import Failed, Stored, carry_out, plan
from tv_etl.lake.overlap import LOOKS_AT_ONCE, overlapped
from tv_etl.lake.snapshot import StoredSeries
from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.series import Series
from tv_etl.tradingview.symbols import SeriesSettings
from tv_etl_tests.conftest import s3_environment

SYNC_S, REQUEST_S = 0.005, 0.030
DISK_SERIES, BUCKET_SERIES, KNOWN_SERIES = 200, 100, 2_000
START = datetime(2026, 11, 2, tzinfo=timezone.utc)
STORED, OVERLAP = 2_000, 6  # bars
SLOW_FSYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    struct timespec late = {0, %d};
    nanosleep(&late, 0);
    return real(fd);
}
"""


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(float(sys.argv[2])))
    elif sys.argv[1:2] == ["disk"]:
        measure_disk(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            run_with_slow_disk(Path(directory))
        measure_bucket()


def run_with_slow_disk(directory: Path) -> None:
    source, library = directory / "fsync.c", directory / "fsync.so"
    source.write_text(SLOW_FSYNC % int(SYNC_S * 1e9))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    command = [sys.executable, "-m", "benchmarks.slow_storage", "disk", str(directory)]
    subprocess.run(command, check=True, env={**os.environ, "LD_PRELOAD": str(library)})


def measure_disk(directory: Path) -> None:
    store = BarStore(directory / "lake")
    late = f"syncs {SYNC_S * 1e3:g} ms late"
    print_row(f"{DISK_SERIES} new series, {late}", partial(collect, store, DISK_SERIES, STORED))
    print_row(f"{DISK_SERIES} increments, {late}", partial(collect, store, DISK_SERIES, STORED + 1), "2 s")


def measure_bucket() -> None:
    with bucket(0) as near:
        os.environ.update(near)
        collect(BarStore("s3://lakes/some"), BUCKET_SERIES, STORED)
        collect(BarStore("s3://lakes/many"), KNOWN_SERIES, 10)
        os.environ["AWS_ENDPOINT_URL"] = f"{near['AWS_ENDPOINT_URL']}/{REQUEST_S}"
        some, many = BarStore("s3://lakes/some"), BarStore("s3://lakes/many")
        late = f"requests {REQUEST_S * 1e3:g} ms away"
        print_row(f"{BUCKET_SERIES} increments, {late}", partial(collect, some, BUCKET_SERIES, STORED + 1), "5 s")
        print_row(f"{BUCKET_SERIES} of which nothing is new", partial(collect, some, BUCKET_SERIES, STORED + 1))
        print_row(f"{KNOWN_SERIES:,} records, {late}", partial(records, many), "10 s")
        print_row(f"the status of {KNOWN_SERIES:,} series", partial(lake_status, many, START + timedelta(days=9)))
        print_row(f"a scan of {BUCKET_SERIES} series", lambda: some.scan().read_all())


def collect(store: BarStore, count: int, bars: int) -> None:
    """Bring so many series up to so many bars, as every caller does."""
    wants = ((series, increment(SeriesSettings(), None)) for series in names(count))
    asks = [each for each in plan(store, wants, START.timestamp(), lists=False) if isinstance(each, Ask)]
    outcomes = list(carry_out(store, asks, partial(answered, bars)))
    assert len(outcomes) == count
    assert all(isinstance(each, Stored) for each in outcomes), [each for each in outcomes if isinstance(each, Failed)]


def records(store: BarStore) -> None:
    def look(series: Series) -> int:
        return store.look(series, StoredSeries.record, lists=False).rows

    assert all(overlapped(look, names(KNOWN_SERIES), at_once=LOOKS_AT_ONCE))


def names(count: int) -> list[Series]:
    return [Series.of(f"X:S{number}", "1m") for number in range(count)]


def answered(bars: int, requests: Iterable[HistoryRequest]) -> Iterator[tuple[HistoryRequest, pa.Table]]:
    """What a server would answer that has so many bars of each series."""
    for request in requests:
        first = 0 if request.start is None else max(0, bars - OVERLAP)
        times = [START + timedelta(minutes=number) for number in range(first, bars)]
        prices = [100.0 + number % 9 for number in range(first, bars)]
        span = [int(each.timestamp()) for each in (times[0], times[-1])]
        facts = {"tv_etl.forming_from": "", "tv_etl.asked_from": str(span[0]), "tv_etl.asked_until": str(span[1] + 1)}
        schema = BAR_SCHEMA.with_metadata({**facts, "fetch.rejected": "0", "fetch.reach": "complete"})
        yield request, pa.table({"timestamp": times, **dict.fromkeys(BAR_SCHEMA.names[1:], prices)}, schema=schema)


def print_row(name: str, work: Callable[[], object], promise: str = "") -> None:
    began = time.perf_counter()
    work()
    print(f"{name:56} {time.perf_counter() - began:7.2f} s   {promise and '<= ' + promise}", flush=True)


# --- an S3 in memory -----------------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def bucket(delay_s: float) -> Iterator[dict[str, str]]:
    """The environment that leads to an S3 whose first part of a path may say how late it answers."""
    command = [sys.executable, "-m", "benchmarks.slow_storage", "serve", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield s3_environment(f"http://127.0.0.1:{server.stdout.readline().strip()}")
        finally:
            server.kill()


async def serve(delay_s: float) -> None:
    objects: dict[str, tuple[bytes, str]] = {}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""):
            line, *lines = head.decode().split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            late = re.match(r"/([\d.]+)(/.*)", target)
            await asyncio.sleep(float(late[1]) if late else delay_s)
            status, extra, content = answer(objects, method, late[2] if late else target, headers, body)
            named = {"Content-Length": str(len(content)), **extra}
            text = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            writer.write(f"HTTP/1.1 {status} -\r\n{text}\r\n".encode() + (b"" if method == "HEAD" else content))

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await connection(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def answer(
    objects: dict[str, tuple[bytes, str]], method: str, target: str, headers: dict[str, str], body: bytes
) -> Answer:
    parts = urlsplit(target)
    key, query = unquote(parts.path).removeprefix("/lakes").lstrip("/"), parse_qs(parts.query, keep_blank_values=True)
    if method == "POST" and "delete" in query:
        names = re.findall(r"<Key>.*?</Key>", body.decode())
        for name in names:
            objects.pop(unescape(name[5:-6]), None)
        deleted = "".join(f"<Deleted>{name}</Deleted>" for name in names)
        return 200, {}, f"<DeleteResult>{deleted}</DeleteResult>".encode()
    if "list-type" in query:
        return 200, {"Content-Type": "application/xml"}, listed(objects, query)
    content, tag = objects.get(key, (b"", ""))
    if method == "PUT":
        refused = (headers.get("if-none-match") == "*" and tag) or headers.get("if-match", tag) != tag
        if refused:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code><Message>changed</Message></Error>"
        tag = f'"{md5(body, usedforsecurity=False).hexdigest()}"'
        objects[key] = body, tag
        return 200, {"ETag": tag}, b""
    if not tag:
        return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
    facts = {"ETag": tag, "Last-Modified": "Mon, 02 Nov 2026 00:00:00 GMT"}
    span = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
    if span is None:
        return 200, facts, content
    first, last = int(span[1]), min(int(span[2]), len(content) - 1)
    return 206, {**facts, "Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]


def listed(objects: dict[str, tuple[bytes, str]], query: dict[str, list[str]]) -> bytes:
    prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    delimiter = query.get("delimiter", [""])[0]
    names = sorted(name for name in objects if name.startswith(prefix) and name > after)
    if delimiter:
        folders = sorted(
            {name[: name.index(delimiter, len(prefix)) + 1] for name in names if delimiter in name[len(prefix) :]}
        )
        found = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
    page = names[:1_000]
    found = "".join(
        f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-02T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(objects[name][1])}</ETag><Size>{len(objects[name][0])}</Size></Contents>"
        for name in page
    )
    more = "<IsTruncated>false</IsTruncated>"
    if len(names) > len(page):
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
    return f"<ListBucketResult>{more}{found}</ListBucketResult>".encode()


if __name__ == "__main__":
    main()
