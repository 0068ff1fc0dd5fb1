"""What the README and the pages in docs show is executed: they cannot lie."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pytest
import yaml
from pydantic import BaseModel

from tv_etl.alerts.events import FIELDS
from tv_etl.alerts.options import Active
from tv_etl.alerts.rules import RULE_KINDS, AlertRule
from tv_etl.alerts.targets.configured import TARGETS
from tv_etl.alerts.targets.ping import Ping
from tv_etl.lake.store import BarStore
from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.sessions import faults
from tv_etl.market_server.sessions.faults import FAULTS
from tv_etl.orchestration.component import AccountNames, TradingViewComponent
from tv_etl.orchestration.resources import ScannerResource, TradingViewResource
from tv_etl.tradingview.models import HistoryRequest
from tv_etl.tradingview.scanner import ScanFilter, ScanRequest, ScanSort
from tv_etl.tradingview.series import Series
from tv_etl.watchlist.model import Alerts, Group, Watchlist
from tv_etl.watchlist.notify import Notify
from tv_etl_tests.imports.samples import SAMPLES
from tv_etl_tests.market_server.talk import Talk, bars, only
from tv_etl_tests.patience import HANG_S

CHECKOUT = Path(__file__).parent.parent
FILES = {path.name: path for folder in (CHECKOUT, CHECKOUT / "docs") for path in sorted(folder.glob("*.md"))}
PAGES = {
    name: path.read_text(encoding="utf-8")
    for name, path in FILES.items()
    if name not in ("CHANGELOG.md", "reading.md")  # test_reading.py runs the latter, and compares what its blocks find
}
ON_GITHUB = re.compile(r"https://github\.com/tv-etl/tv_etl/(?:blob|tree)/main/([\w./-]+)")
REFERENCE = [
    TradingViewComponent,
    AccountNames,
    Group,
    ScanRequest,
    ScanFilter,
    ScanSort,
    Alerts,
    Ping,
    Notify,
    AlertRule,
    Active,
    *TARGETS,
]
FILE_NAME = re.compile(r"# (\w+\.py)\n")  # the first line of a block that is a file


def blocks(language: str, *pages: str) -> list[str]:
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    return [block for page in pages or PAGES for block in fence.findall(PAGES[page])]


IMPORTS = [line for block in blocks("console") for line in block.splitlines() if ".venv/bin/tv-etl import " in line]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, market_url: str) -> Path:
    """A working directory with a lake in it, as the README's reader has one."""
    path = tmp_path_factory.mktemp("reader")
    for request, table in TradingViewResource(ws_url=market_url).fetch([HistoryRequest("NASDAQ:AAPL", "1d")]):
        BarStore(path / "lake").upsert(request.symbol, request.interval, table)
    for sample in SAMPLES:
        sample.write(path)
    return path


@pytest.mark.parametrize("code", [code for code in blocks("python") if not FILE_NAME.match(code)])
def test_python_blocks_run(code: str, directory: Path, market_url: str, scanner_url: str) -> None:
    environment = {
        **os.environ,
        "TV_ETL_WS_URL": market_url,
        "TV_ETL_SCANNER_URL": scanner_url,
        "TV_ETL_SEARCH_URL": scanner_url,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_that_are_files_are_tests_that_pass(page: str, tmp_path: Path) -> None:
    names = []
    for code in blocks("python", page):
        if found := FILE_NAME.match(code):
            names.append(found[1])
            (tmp_path / found[1]).write_text(code, encoding="utf-8")
    if page == "market_server.md":
        assert "conftest.py" in names
    if not names:
        return
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("code", blocks("py"))
def test_code_for_other_clients_can_be_parsed(code: str) -> None:
    compile(code, "page", "exec")


def test_the_table_of_faults_is_theirs() -> None:
    rows = re.findall(r"^\| `(FAULT:\w+)` \| (.*) \|$", PAGES["market_server.md"], re.MULTILINE)
    assert rows == [(name, fault.effect) for name, fault in FAULTS.items()]


def test_the_table_of_plans_is_theirs() -> None:
    for plan in PLANS.values():
        has = ["yes" if each else "no" for each in (plan.has_seconds, plan.has_custom_intervals, plan.has_ticks)]
        cells = [plan.name, f"{plan.intraday_bars:,}", str(plan.series_per_session), *has]
        row = f"| {' | '.join([*cells, str(plan.max_connections or 'any')])} |"
        assert row in PAGES["market_server.md"]


@pytest.mark.parametrize("text", blocks("yaml", "dagster.md"))
def test_yaml_blocks_are_components_or_watchlists(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanner_url: str
) -> None:
    (tmp_path / "symbols.txt").write_text("NASDAQ:AAPL\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(text)
    if "type" in content:
        assert content["type"] == "tv_etl.TradingViewComponent"
        TradingViewComponent.from_attributes_dict(attributes=content["attributes"])
    else:
        for group in Watchlist.model_validate(content).groups:
            if group.scanner is not None:
                assert ScannerResource(base_url=scanner_url).symbols(group.scanner)


@pytest.mark.parametrize("model", REFERENCE, ids=lambda model: model.__name__)
def test_the_reference_has_every_field_of_the_watchlist(model: type[BaseModel]) -> None:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if name in properties:
            default = field.get_default(call_default_factory=True)
            if field.is_required():
                shown = "required"
            elif isinstance(default, BaseModel):
                shown = "none"
            else:
                shown = f"`{json.dumps(default)}`"
            lines.append(f"| `{name}` | {shown} | {field.description} |")
    table = "\n".join(lines)
    page = PAGES["targets.md" if model in TARGETS else "dagster.md"]
    assert f"### {model.__name__}\n" in page
    assert table in page, table


def test_the_recipes_of_targets_are_targets() -> None:
    recipes = [yaml.safe_load(text)["alerts"] for text in blocks("yaml", "targets.md")]
    shown = {type(target) for recipe in recipes for target in Alerts.model_validate(recipe).targets}
    assert shown == set(TARGETS)


def test_the_fields_of_an_alert_are_listed() -> None:
    table = "\n".join(
        ["| field | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in FIELDS.items())]
    )
    assert table in PAGES["targets.md"], table


def test_the_reference_has_every_kind_of_rule_and_its_keys() -> None:
    lines = ["| kind | tells when | its own keys |", "|---|---|---|"]
    keys: dict[tuple[str, str, str], None] = {}
    for kind in RULE_KINDS:
        own = [(field.alias or name, field) for name, field in kind.model_fields.items() if name != "kind"]
        own = [(name, field) for name, field in own if name not in AlertRule.model_fields]
        for name, field in own:
            default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
            keys[name, default, field.description or ""] = None
        word = kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        names = ", ".join(f"`{name}`" for name, _ in sorted(own, key=lambda each: each[0]))
        lines.append(f"| `{word}` | {' '.join((kind.__doc__ or '').split())} | {names} |")
    lines += ["", "| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in sorted(keys)]
    table = "\n".join(lines)
    assert table in PAGES["dagster.md"], table


@pytest.mark.parametrize("text", blocks("yaml", "alerts.md"))
def test_yaml_blocks_of_rules_are_rules(text: str) -> None:
    content = {"groups": [{"name": "us", "symbols": ["NASDAQ:AAPL"], "intervals": ["1d"]}], **yaml.safe_load(text)}
    watchlist = Watchlist.model_validate(content)
    assert watchlist.alerts.rules or watchlist.notify


@pytest.mark.parametrize("query", blocks("sql"))
def test_sql_blocks_run(query: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    assert rows[0][:2] == ("NASDAQ:AAPL", "1d")


@pytest.mark.slow
def test_the_commands_exist() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    lines = [re.split(r" [#|] ", f"{line} ")[0].strip() for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[0].startswith(".venv/bin/"):
            tool = Path(sys.executable).with_name(Path(words[0]).name)
            command = words[1:3] if words[1] == "asset" else words[1:2]
            done = subprocess.run([tool, *command, "--help"], capture_output=True, text=True, timeout=HANG_S)
            assert done.returncode == 0, done.stderr
            options = [word for word in words[2:] if word.startswith("-")]
            assert all(option in done.stdout for option in options), line
        elif words[0] == "dg":
            command = [word for word in words[1:4] if re.fullmatch("[a-z]+", word)]
            done = subprocess.run(
                [sys.executable, "-m", "dagster_dg_cli.cli", *command, "--help"],
                capture_output=True,
                text=True,
                timeout=HANG_S,
            )
            assert done.returncode == 0, done.stderr
            assert all(word in done.stdout for word in words if word.startswith("--")), line
        elif words[0] == "git":
            assert words[1] == "clone", line
        elif words[0] == "pip":
            extras = re.findall(r"\[(.*)\]", line)[0].split(",")
            metadata = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
            assert all(re.search(rf"^{extra} = \[", metadata, re.MULTILINE) for extra in extras), line
        else:
            assert words[0] == "export", line


FETCHES = [
    line
    for block in blocks("console")
    for line in block.splitlines()
    if any(f"tv-etl {name} " in line for name in ("fetch", "search", "export"))
    or (" watch " in line and ("|" in line or "--once" in line))
]


@pytest.mark.parametrize("line", FETCHES)
def test_commands_that_end_by_themselves_run(line: str, directory: Path, market_url: str, scanner_url: str) -> None:
    (directory / "watchlist.txt").write_text("###TECH,NASDAQ:AAPL,###CRYPTO,BINANCE:BTCUSDT", encoding="utf-8")
    command = line.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    environment = {**os.environ, "TV_ETL_WS_URL": market_url, "TV_ETL_SEARCH_URL": scanner_url}
    done = subprocess.run(
        command, shell=True, cwd=directory, env=environment, capture_output=True, text=True, timeout=HANG_S
    )
    has_summary = " fetch " in line or " export " in line
    assert (done.returncode, has_summary or done.stderr == "") == (0, True)
    assert "Error" not in done.stderr and (done.stdout or "--out" in line)


@pytest.mark.parametrize("line", IMPORTS)
def test_each_form_is_imported_by_its_command(line: str, tmp_path: Path, market_url: str) -> None:
    for sample in SAMPLES:
        sample.write(tmp_path)
    (tmp_path / "list.txt").write_text("###SHARES,NASDAQ:AAPL,NYSE:JNJ", encoding="utf-8")
    command = line.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    environment = {**os.environ, "TV_ETL_WS_URL": market_url}
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    assert " bars added" in done.stdout
    assert all(summary.rows for summary in (BarStore(tmp_path / "lake").summary(*each) for each in series_in(tmp_path)))


def series_in(directory: Path) -> list[Series]:
    found = BarStore(directory / "lake").series()
    assert found
    return found


def test_every_variable_and_file_that_is_named_exists() -> None:
    read = [path for package in ("tv_etl", "tv_etl_tests") for path in (CHECKOUT / package).rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in read if path != Path(__file__))
    for name, text in PAGES.items():
        for variable in set(re.findall(r"TV_ETL_[A-Z_]+", text)):
            assert variable in sources or variable in (CHECKOUT / "watchlist.yaml").read_text(encoding="utf-8")
        for path in {*re.findall(r"`(tv_etl(?:_tests)?/[\w/.]*)`", text), *ON_GITHUB.findall(text)}:
            assert (CHECKOUT / path).exists(), path
        for path in set(re.findall(r"\]\((?!http|#)([^)#]+)", text)):
            assert (FILES[name].parent / path).exists(), path


def test_every_heading_that_is_linked_exists() -> None:
    shown = [*FILES.values(), *(CHECKOUT / folder / "README.md" for folder in ("deploy", "examples", "peers"))]
    texts = {path: path.read_text(encoding="utf-8") for path in shown}
    headings = {path: {slug(line) for line in re.findall(r"^#+ (.*)$", text, re.M)} for path, text in texts.items()}
    linked = [
        ((path.parent / name).resolve() if name else path, heading)
        for path, text in texts.items()
        for name, heading in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", text)
    ]
    assert len(linked) > 10
    assert [(path.name, heading) for path, heading in linked if heading not in headings[path]] == []


def slug(heading: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_what_a_package_index_shows_has_no_link_into_a_checkout() -> None:
    text = re.sub(r"```.*?```", "", PAGES["README.md"], flags=re.DOTALL)
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []
    defined = dict(re.findall(r"^\[([^\]]+)\]: (.*)$", text, re.MULTILINE))
    assert set(re.findall(r"\[([^\]\n]+)\](?!\(|: http)", re.sub(r"`[^`]*`", "", text))) == set(defined)
    assert all(ON_GITHUB.fullmatch(address) for address in defined.values())
    for path in ON_GITHUB.findall((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")):
        assert (CHECKOUT / path).exists(), path


def test_every_promise_of_security_names_its_tests() -> None:
    promises = re.search(r"^## What is protected\n(.*?)^## ", PAGES["SECURITY.md"], re.MULTILINE | re.DOTALL)
    assert promises is not None
    rows = re.findall(r"^\| (?!threat|---)(.*) \|$", promises[1], re.MULTILINE)
    assert len(rows) > 10
    for promise in rows:
        proofs = re.findall(r"`((?:\w+/)*test_\w+\.py)`", promise)
        assert proofs, promise
        assert [path for path in proofs if not (CHECKOUT / "tv_etl_tests" / path).exists()] == []


def test_the_first_change_that_is_shown_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    diffs = [textwrap.dedent(block).splitlines() for block in blocks("diff", "CONTRIBUTING.md")]
    changes = {diff[0].removeprefix("+++ "): diff[1:] for diff in diffs}
    for path, lines in changes.items():
        source = (CHECKOUT / path).read_text(encoding="utf-8").splitlines()
        is_made = all(line[1:] in source for line in lines if line[0] == "+")
        assert is_made or not [line for line in lines if line[0] != "+" and line[1:] not in source], path
    entry = changes["tv_etl/market_server/sessions/faults.py"][0].removeprefix("+")
    ((name, fault),) = eval(f"{{{entry}}}", vars(faults)).items()
    assert changes["docs/market_server.md"] == [f"+| `{name}` | {fault.effect} |"]
    monkeypatch.setitem(FAULTS, name, fault)
    served = bars(only(Talk().open_chart(name, "1", 6), "timescale_update"))
    assert [len(bar) for bar in served] == [6, 6, 0] * 2


def test_every_option_of_the_market_server_that_is_named_exists() -> None:
    command = [sys.executable, "-m", "tv_etl.market_server", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG_S).stdout
    for option in set(re.findall(r"`(--[a-z-]+)", PAGES["market_server.md"])):
        assert option in printed, option
