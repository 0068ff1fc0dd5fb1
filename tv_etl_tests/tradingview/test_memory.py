"""A client that may not have much memory gets a typed error from every bomb, and never runs out of it."""

import subprocess
import sys

import pytest

from tv_etl_tests.patience import HANG_S

# Under a hard limit of its address space, 300 MB above what it has once everything is imported; the server's own copies
# of what it sends are among them.
CODE = """
import asyncio, json, resource, sys
from pathlib import Path
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.services import ConnectionService, Limits, MessageService
from tv_etl_tests import own_clock
from tv_etl_tests.scripted_server import Line, scripted_server

async def bomb(line, method, params):
    if method != "create_series":
        return
    kind = sys.argv[1]
    if kind == "message":
        await line.say_text("x" * (1 << 20) * 15)
    elif kind == "frames":
        await line.say_text("~m~99999999~m~" + "x" * 1_000_000)
    elif kind == "depth":
        await line.say_text(f"~m~{2_000_000}~m~" + "[" * 2_000_000)
    elif kind == "reason":
        await line.say({"m": "symbol_error", "p": [params[0], "sds_sym_1", "y" * 15_000_000]})
    elif kind == "description":
        await line.say({"m": "symbol_resolved", "p": [params[0], "sds_sym_1", {"description": "y" * 15_000_000}]})
        await line.say({"m": "symbol_error", "p": [params[0], "sds_sym_1", "invalid symbol"]})
    else:
        while True:
            await line.say(*[{"m": "du", "p": [params[0], {}]}] * 5_000)
            await asyncio.sleep(0)

async def main():
    limits = Limits(progress_s=2.0)
    async with scripted_server(bomb) as server, ConnectionService(server.url, limits=limits) as connection:
        try:
            await MessageService(connection).fetch(HistoryRequest("NASDAQ:AAPL", "1D", bars_count=2))
        except TradingViewError as error:
            print(type(error).__name__, len(str(error)) < 1_000)

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (300 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
own_clock.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space is limited and told on Linux")
@pytest.mark.parametrize("kind", ["message", "frames", "depth", "reason", "description", "flood"])
def test_a_bomb_ends_as_a_typed_error_within_three_hundred_megabytes(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, kind], capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stderr) == (0, "")
    name, is_short = done.stdout.split()
    typed = {"ConnectionFailedError", "FrameError", "NoBarsError", "ProtocolError", "SymbolError"}
    assert name in typed and is_short == "True"


# A screener whose every page has far more rows than were asked for, and which never comes to its end.
PAGES = """
import asyncio, resource, sys
from pathlib import Path
from tv_etl.tradingview.errors import ScannerError
from tv_etl.tradingview.scanner import ScannerService, ScanRequest
from tv_etl_tests import own_clock
from tv_etl_tests.tradingview.lying_screener import Liar, http

rows = ",".join(f'{{"s":"X:S{number}","d":["a",1.5,[],{{}},null]}}' for number in range(int(sys.argv[2])))
liar = Liar(http(f'{{"totalCount":100000000,"data":[{rows}]}}'.encode()))
request = ScanRequest(market="america", columns=("a", "b", "c", "d", "e"), limit=None if sys.argv[1] == "all" else 100)

async def main():
    async with liar.serving():
        try:
            seen = 0
            async for _ in ScannerService(liar.url, timeout_s=20.0).scan(request):
                seen += 1
            print("done", seen)
        except ScannerError as error:
            print("ScannerError", len(str(error)) < 1_000)

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (300 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
own_clock.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space is limited and told on Linux")
@pytest.mark.parametrize(("wanted", "rows"), [("some", 50_000), ("all", 50_000), ("all", 300_000)])
def test_pages_of_rows_that_nobody_asked_for_fit_into_three_hundred_megabytes(wanted: str, rows: int) -> None:
    command = [sys.executable, "-c", PAGES, wanted, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["ScannerError", "True"]
