"""`python -m peers [PEER ...]`: run other people's clients on the market server and print how each scenario went."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from peers.known_differences import KNOWN_DIFFERENCES, KnownDifference
from peers.our_bars import our_bars

CHECKOUT = Path(__file__).parent.parent
INSTALLED = CHECKOUT / ".venv-peers"
DEADLINE_S = 600.0

NOW, LATER = "2026-11-20T15:00:30Z", "2026-11-21T15:00:00Z"
STANDING = ("--now", NOW, "--speed", "0", "--update-ms", "200")
LIVE = ("--now", NOW, "--speed", "60", "--update-ms", "100")  # a minute in a second
STANDING_LATER = ("--now", LATER, "--speed", "0")


class Peer(NamedTuple):
    """A client that is not ours: the script with its scenarios, and what runs that."""

    script: Path
    command: tuple[str, ...]


class Outcome(NamedTuple):
    """How a scenario went: ok, known or failed."""

    scenario: str
    result: str
    seconds: float
    why: str


def _python(folder: str, script: str) -> Peer:
    return Peer(
        CHECKOUT / "peers" / f"{script}.py", (str(INSTALLED / folder / "bin" / "python"), "-m", f"peers.{script}")
    )


PEERS = {
    "tvkit": _python("tvkit", "tvkit_peer"),
    "mathieuc": Peer(CHECKOUT / "peers" / "mathieuc_peer.js", ("node", str(CHECKOUT / "peers" / "mathieuc_peer.js"))),
    "sdk": _python("tradingview-sdk", "sdk_peer"),
    "tvdatafeed": _python("tradingview-datafeed", "tvdatafeed_peer"),
}


def scenarios_of(script: Path) -> list[str]:
    """The names of a script's scenarios, in order, read from its source."""
    found = re.finditer(r"""^@?scenario\((?:'(.+?)'|"(.+?)")""", script.read_text(encoding="utf-8"), re.MULTILINE)
    return [match[1] or match[2] for match in found]


def judge(scenarios: Sequence[str], lines: Iterable[str], known: Mapping[str, KnownDifference]) -> Iterator[Outcome]:
    """Outcomes as the lines of a peer's script tell them; a scenario that none tells of has failed."""
    missing = dict.fromkeys(scenarios)
    for line in lines:
        if not line.startswith('{"scenario":'):
            continue  # something the peer prints itself
        report = json.loads(line)
        name, seconds, why = report["scenario"], report["seconds"], " ".join(report["why"].split())
        missing.pop(name, None)
        if not why:
            note = "no known difference any more: take it out of the table" if name in known else ""
            yield Outcome(name, "ok", seconds, note)
        elif name in known and known[name].shows in why:
            yield Outcome(name, "known", seconds, known[name].reason)
        else:
            yield Outcome(name, "failed", seconds, why)
    for name in missing:
        yield Outcome(name, "failed", 0.0, "it did not run")


@contextmanager
def market(*options: str) -> Iterator[tuple[str, str]]:
    """A running market server: its WebSocket's address, and that for plain requests."""
    command = [str(Path(sys.executable).with_name("tv-etl")), "market", "--port", "0", "--seed", "7", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.stdout.readline().strip()
        finally:
            process.terminate()


def run(peer: Peer, expected: Mapping[str, Any], known: Mapping[str, KnownDifference], log: Path) -> Iterator[Outcome]:
    """A peer's scenarios, each as it ends, on market servers of the peer's own; `log` gets its stderr."""
    with market(*STANDING) as (ws_url, http_url), market(*LIVE) as (live_ws_url, _), TemporaryDirectory() as folder:
        addresses = {"ws_url": ws_url, "http_url": http_url, "live_ws_url": live_ws_url}
        path = Path(folder) / "market.json"
        path.write_text(json.dumps({**addresses, "expected": expected}), encoding="utf-8")
        yield from judge(scenarios_of(peer.script), _lines([*peer.command, str(path)], log), known)


def _lines(command: Sequence[str], log: Path) -> Iterator[str]:
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            yield from process.stdout
        finally:
            timer.cancel()
            process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the peers named, or all; 1 if a scenario failed that is no known difference."""
    parser = argparse.ArgumentParser(prog="python -m peers", description=__doc__)
    parser.add_argument("peer", nargs="*", help=f"one of {', '.join(PEERS)}; all without")
    names = parser.parse_args(arguments).peer or list(PEERS)
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    with market(*STANDING) as (ws_url, _), market(*STANDING_LATER) as (later_ws_url, _):
        expected = our_bars(ws_url, later_ws_url)
    print(_line("peer", "scenario", "result", "s", "why"))
    counts: Counter[str] = Counter()
    for name in names:
        if name == "mathieuc" and not (shutil.which("node") and (INSTALLED / name / "installed").exists()):
            print(_line(name, "", "skipped", "", "it needs node and npm"))
            continue
        known = {scenario: known for (peer, scenario), known in KNOWN_DIFFERENCES.items() if peer == name}
        for outcome in run(PEERS[name], expected, known, INSTALLED / f"{name}.log"):
            counts[outcome.result] += 1
            seconds = f"{outcome.seconds:.1f}"
            print(_line(name, outcome.scenario, outcome.result, seconds, outcome.why[:300]), flush=True)
    print(f"{counts['ok']} ok, {counts['known']} known differences, {counts['failed']} failed")
    if counts["failed"]:
        print(f"What a peer logged is in {INSTALLED.name}/<peer>.log")
    return 1 if counts["failed"] else 0


def _line(peer: str, scenario: str, result: str, seconds: str, why: str) -> str:
    return f"{peer:10}  {scenario:32}  {result:7}  {seconds:>4}  {why}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
