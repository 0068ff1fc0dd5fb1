"""The table of the peers is true without a network: what is named is run, and what is not run has failed."""

import json
import re
import sys
from pathlib import Path

import pytest

from peers.__main__ import CHECKOUT, PEERS, Outcome, Peer, judge, main, run, scenarios_of
from peers.known_differences import KNOWN_DIFFERENCES, KnownDifference
from peers.our_bars import BEYOND_5000, HISTORY, LIVE, RANGES, our_bars
from tv_etl.market_server.clock import MarketClock
from tv_etl.market_server.options import ServerOptions
from tv_etl.market_server.server import serve_in_thread

README = (CHECKOUT / "peers" / "README.md").read_text(encoding="utf-8")
IN_README = {
    match[1]: [" ".join(name.split()) for name in match[2].split("·")]
    for match in re.finditer(r"^\* \*\*(\w+)\*\*: (.+?)(?=^\* |\Z)", README, re.MULTILINE | re.DOTALL)
}
FRIDAY = 1_795_186_830.0  # 2026-11-20T15:00:30Z


def line(scenario: str, why: str = "") -> str:
    return json.dumps({"scenario": scenario, "seconds": 0.5, "why": why}) + "\n"


@pytest.mark.parametrize("peer", PEERS)
def test_the_readme_names_the_scenarios_that_run(peer: str) -> None:
    assert scenarios_of(PEERS[peer].script)
    assert IN_README[peer] == scenarios_of(PEERS[peer].script)


def test_the_readme_names_no_other_peer() -> None:
    assert list(IN_README) == list(PEERS)


def test_the_readme_names_the_pinned_versions() -> None:
    pins = (CHECKOUT / "peers" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    packages = json.loads((CHECKOUT / "peers" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    pins += [f"{name}=={version}" for name, version in packages.items()]
    named = re.findall(r"^\| \w+ \| (\S+) (\d[\d.]*\d)", README, re.MULTILINE)
    assert len(named) == len(PEERS)
    assert [f"{name}=={version}" for name, version in named if f"{name}=={version}" not in pins] == []


def test_every_known_difference_is_of_a_scenario() -> None:
    assert [key for key in KNOWN_DIFFERENCES if key[1] not in scenarios_of(PEERS[key[0]].script)] == []
    assert all(known.shows and known.reason for known in KNOWN_DIFFERENCES.values())


def test_a_scenario_is_ok_or_failed_as_its_script_says() -> None:
    assert list(judge(["range", "quotes"], [line("range"), line("quotes", "late\n  by 3 s")], {})) == [
        Outcome("range", "ok", 0.5, ""),
        Outcome("quotes", "failed", 0.5, "late by 3 s"),
    ]


def test_a_scenario_that_is_not_told_of_has_failed() -> None:
    (outcome,) = judge(["range"], ["what the peer prints itself\n"], {})
    assert (outcome.result, outcome.why) == ("failed", "it did not run")


def test_a_known_difference_excuses_its_own_message_only() -> None:
    known = {"range": KnownDifference("no such bar", "the peer counts from 1")}
    (as_known,) = judge(["range"], [line("range", "IndexError: no such bar")], known)
    (other,) = judge(["range"], [line("range", "timed out")], known)
    (gone,) = judge(["range"], [line("range")], known)
    assert (as_known.result, as_known.why) == ("known", "the peer counts from 1")
    assert (other.result, other.why) == ("failed", "timed out")
    assert gone.result == "ok" and "take it out" in gone.why


def test_a_peer_is_run_on_servers_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "curious_peer.py"
    script.write_text(
        "import json, sys, urllib.request\n"
        "def scenario(name): print(json.dumps({'scenario': name, 'seconds': 0, 'why': ' '.join(found)}))\n"
        "market = json.load(open(sys.argv[1]))\n"
        "body = json.dumps({'columns': ['name'], 'range': [0, 1]}).encode()\n"
        "answer = json.load(urllib.request.urlopen(market['http_url'] + '/crypto/scan', body))\n"
        "found = [str(answer['totalCount'] > 0), str(market['ws_url'] != market['live_ws_url']), *market['expected']]\n"
        "sys.stderr.write('noted')\n"
        'scenario("addresses")\n',
        encoding="utf-8",
    )
    peer, log = Peer(script, (sys.executable, str(script))), tmp_path / "log"
    (outcome,) = run(peer, {"what we got": []}, {}, log)
    assert outcome == Outcome("addresses", "failed", 0, "True True what we got")
    assert log.read_text(encoding="utf-8") == "noted"


def test_our_client_gets_all_that_the_peers_are_compared_with() -> None:
    with (
        serve_in_thread(options=ServerOptions(clock=MarketClock(FRIDAY, 0.0))) as server,
        serve_in_thread(options=ServerOptions(clock=MarketClock(FRIDAY + 86_400, 0.0))) as later,
    ):
        expected = our_bars(server.url, later.url)
    assert {name: len(case["bars"]) for name, case in expected["history"].items()} == {
        name: count for name, (_, _, count) in HISTORY.items()
    }
    assert len(expected["beyond_5000"]["bars"]) == BEYOND_5000[2]
    assert all(case["start"] <= case["bars"][0][0] < case["end"] for case in expected["ranges"].values())
    assert list(expected["ranges"]) == list(RANGES)
    assert expected["live"]["bars"][0][0] < FRIDAY < expected["live"]["bars"][-1][0]
    assert len(expected["live"]["bars"]) == LIVE[2]
    assert None not in expected["quotes"].values()


def test_an_unknown_peer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tvkti"])
    assert "no such peer: tvkti; there are tvkit," in capsys.readouterr().err
