"""What a commit costs in an object store, beside the same in a directory: requests, and milliseconds on loopback.

    python -m benchmarks.object_lake

The S3 is moto's, whose answers take about three milliseconds each; elsewhere, multiply the requests by the round trip.
"""

import logging
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pyarrow as pa
from moto.server import ThreadedMotoServer

from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.conftest import s3_environment
from tv_etl_tests.s3_proxy import S3Proxy, s3_proxy

START = datetime(2026, 9, 1, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
MINUTES = 60 * 24 * 75  # of three months
REPEAT = 7


def main() -> None:
    """Print the medians."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/lakes", method="PUT")).close()
    with s3_proxy(f"http://{host}:{port}") as proxy, tempfile.TemporaryDirectory() as directory:
        os.environ.update(s3_environment(proxy.endpoint))
        counted = measured(BarStore("s3://lakes/counted"), proxy)
        os.environ.update(s3_environment(f"http://{host}:{port}"))
        remote, local = measured(BarStore("s3://lakes/timed")), measured(BarStore(directory))
    server.stop()
    print(f"{'':44} requests  S3 on loopback  directory  ratio")
    for name, (requests, _) in counted.items():
        here, there = local[name][1], remote[name][1]
        print(f"{name:44} {requests:8} {there:12.1f} ms {here:7.1f} ms {there / here:6.1f}")


def measured(store: BarStore, proxy: S3Proxy | None = None) -> dict[str, tuple[int, float]]:
    """The requests and the median milliseconds of each use of a series of three months."""
    store.upsert("X:Y", "1m", bars(0, MINUTES))
    added = iter(range(MINUTES, 2 * MINUTES))
    closes = iter(range(1, 1000))
    uses: dict[str, Callable[[], object]] = {
        "one new bar": lambda: store.upsert("X:Y", "1m", bars(next(added), 1)),
        "nothing new": lambda: store.upsert("X:Y", "1m", bars(0, 300)),
        "three months revised": lambda: store.upsert("X:Y", "1m", bars(0, MINUTES, float(next(closes)))),
        "read one month": lambda: store.read("X:Y", "1m", START + timedelta(days=61)),
        "watermark": lambda: store.watermark("X:Y", "1m"),
        "record": lambda: store.record("X:Y", "1m"),
    }
    return {name: once(use, proxy) for name, use in uses.items()}


def once(use: Callable[[], object], proxy: S3Proxy | None) -> tuple[int, float]:
    times, requests = [], 0
    for _ in range(REPEAT if proxy is None else 2):
        if proxy is not None:
            proxy.requests.clear()
        began = time.perf_counter()
        use()
        times.append(1000 * (time.perf_counter() - began))
        requests = 0 if proxy is None else len(proxy.requests)
    return requests, statistics.median(times)


def bars(first: int, count: int, close: float = 0.0) -> pa.Table:
    numbers = range(first, first + count)
    columns = {"timestamp": [START + MINUTE * number for number in numbers]}
    columns |= {name: [100.0 + number % 7 + close for number in numbers] for name in BAR_SCHEMA.names[1:]}
    return pa.table(columns, schema=BAR_SCHEMA.with_metadata({"tv_etl.forming_from": ""}))


if __name__ == "__main__":
    main()
