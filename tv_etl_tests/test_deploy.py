"""The files of deploy/ say the same thing: to each other, to Dagster, to the package and to Docker."""

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import click
import dagster as dg
import httpx
import pytest
import tomli
import trustme
import yaml
from dagster._config import process_config
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity, dagster_instance_config
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.external import RemoteJob
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.config import pg_config
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import tv_etl
from tv_etl.orchestration.partitions import range_tags
from tv_etl.watchlist.model import load_watchlist
from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.processes import free_port

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
INSTANCE: dict[str, Any] = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# The services that Dagster runs in, all from the image built here.
APP = ("code", "webserver", "daemon")
CLICK_COMMANDS = {
    "dagster": "dagster._cli",
    "dagster-daemon": "dagster._daemon.cli",
    "dagster-webserver": "dagster_webserver.cli",
}
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|KEY|WEBHOOK")


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions as (name, arguments)."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    joined = "\n".join(line for line in lines if line and not line.startswith("#")).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def arguments_of(name: str) -> list[str]:
    return [arguments for instruction, arguments in dockerfile() if instruction == name]


def image_environment() -> dict[str, str]:
    pairs = [item.split("=", 1) for arguments in arguments_of("ENV") for item in shlex.split(arguments)]
    return {name: value for name, value in pairs}


def copied_from_checkout() -> list[tuple[str, str]]:
    """What goes into the image, as (source, destination)."""
    copies = [shlex.split(arguments) for arguments in arguments_of("COPY") if not arguments.startswith("--from=")]
    return [(source, copy[-1]) for copy in copies for source in copy[:-1]]


def example_variables() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value for name, value in pairs}


def interpolated_variables() -> set[str]:
    return set(re.findall(r"\$\{(\w+)", yaml.safe_dump(COMPOSE)))


def environment_of(service: str) -> dict[str, str]:
    """What a container of the service finds in its environment, once the example is filled in."""
    filled = {name: value or f"value-of-{name}" for name, value in example_variables().items()}
    own = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda match: filled[match[1]], value)
        for name, value in SERVICES[service]["environment"].items()
    }
    return {**filled, **own} if "env_file" in SERVICES[service] else own


def variables_named_in(config: object) -> set[str]:
    """The names that a piece of dagster.yaml takes from the environment."""
    if not isinstance(config, Mapping):
        return set()
    if set(config) == {"env"}:
        return {str(config["env"])}
    return {name for value in config.values() for name in variables_named_in(value)}


def mounts_of(service: str) -> dict[str, str]:
    """Volumes and bound files of a service: source by target."""
    parts = [volume.split(":") for volume in SERVICES[service].get("volumes", [])]
    return {part[1]: part[0] for part in parts}


def mount_holding(path: str, service: str) -> str | None:
    """The source of the mount that a path of the service's file system lies in."""
    mounts = mounts_of(service)
    return next((mounts[target] for target in mounts if PurePosixPath(path).is_relative_to(target)), None)


def is_sent_to_docker(path: str) -> bool:
    """As Docker reads .dockerignore: the last line that matches the path, or a directory above it, decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, str(each)) for each in (path, *PurePosixPath(path).parents)):
            sent = line.startswith("!")
    return sent


def parse_command(words: Sequence[str]) -> dict[str, Any]:
    """The options of a Dagster command, parsed by the command itself; nothing is started."""
    if words[0] == "dagster-webserver":
        pytest.importorskip("dagster_webserver")
    command: click.Command = importlib.import_module(CLICK_COMMANDS[words[0]]).cli
    # The image holds copies of these files.
    rest = [word.replace(image_environment()["DAGSTER_HOME"], str(DEPLOY)) for word in words[1:]]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, words
        command, rest = found, rest[1:]
    return command.make_context(words[0], rest).params


def code_server() -> dict[str, Any]:
    return parse_command(SERVICES["code"]["command"])


@pytest.fixture
def in_container(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of("daemon").items():
        monkeypatch.setenv(name, value)


# --- dagster.yaml


def test_dagster_accepts_the_instance_configuration(in_container: None) -> None:
    config, _ = dagster_instance_config(str(DEPLOY))
    assert set(INSTANCE) <= set(config)


@pytest.mark.parametrize("service", APP)
def test_each_service_finds_the_database_that_compose_creates(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, created = environment_of(service), environment_of("postgres")
    assert variables_named_in(INSTANCE) <= set(environment)
    for name in variables_named_in(INSTANCE):
        monkeypatch.setenv(name, environment[name])
    storage = process_config(pg_config(), INSTANCE["storage"]["postgres"])
    assert storage.success, storage.errors
    database = dict(storage.value["postgres_db"])  # type: ignore[index]  # success says that there is a value
    assert database["hostname"] == "postgres"
    assert "postgres" in SERVICES
    assert database["db_name"] == created["POSTGRES_DB"]
    assert database["username"] == created["POSTGRES_USER"]
    assert database["password"] == created["POSTGRES_PASSWORD"]
    assert database["port"] == 5432


def test_the_postgres_plugin_connects_as_configured(in_container: None) -> None:
    utils = pytest.importorskip("dagster_postgres.utils")
    storage = process_config(pg_config(), INSTANCE["storage"]["postgres"])
    assert storage.value is not None
    url = utils.pg_url_from_config(storage.value)
    assert url == "postgresql+psycopg2://dagster:value-of-POSTGRES_PASSWORD@postgres:5432/dagster"


def test_the_instance_does_what_the_comments_promise(tmp_path: Path) -> None:
    config = {name: value for name, value in INSTANCE.items() if name != "storage"}
    text = yaml.safe_dump(config).replace("/data/dagster", str(tmp_path / "data"))
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_launcher) is DefaultRunLauncher
        assert type(instance.compute_log_manager) is LocalComputeLogManager
        assert Path(instance.storage_directory()).is_relative_to(tmp_path / "data")
        limits = instance.get_concurrency_config()
        assert limits.pool_config.default_pool_limit == 1
        assert limits.pool_config.pool_granularity is PoolGranularity.RUN
        assert limits.run_queue_config is not None
        assert limits.run_queue_config.max_concurrent_runs == 4
        assert limits.run_queue_config.max_user_code_failure_retries > 0
        assert instance.run_monitoring_enabled
        assert 0 < instance.run_monitoring_max_runtime_seconds <= 86_400
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.get_settings("sensors")["use_threads"]
        assert instance.get_settings("schedules")["use_threads"]


def test_one_machine_has_the_same_settings_where_nothing_is_its_own(tmp_path: Path) -> None:
    """The instance of README's own set-up, and the one that the package writes."""
    text = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    assert (resources.files("tv_etl") / "templates" / "dagster.yaml").read_text(encoding="utf-8") == text
    settings = yaml.safe_load(text)
    assert {name: INSTANCE[name] for name in settings} == settings
    # Where the data lie; and SQLite takes one writer at a time.
    assert set(INSTANCE) - set(settings) == {
        *("storage", "run_launcher", "compute_logs", "local_artifact_storage"),
        *("sensors", "schedules"),
    }
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_launcher) is DefaultRunLauncher
        assert instance.run_monitoring_enabled


@pytest.mark.slow
def test_two_runs_of_bars_at_once_share_one_place_in_the_pool(
    tmp_path: Path, market_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the queue of Dagster's daemon, with the limits of the containers."""
    limits = {name: INSTANCE[name] for name in ("concurrency", "run_queue", "run_monitoring", "telemetry")}
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(limits), encoding="utf-8")
    watchlist = tmp_path / "watchlist.yaml"
    watchlist.write_text("groups: [{symbols: ['NASDAQ:AAPL'], intervals: [1d], initial_bars: 50}]", encoding="utf-8")
    for name, value in {
        "DAGSTER_HOME": str(home),
        "TV_ETL_WATCHLIST": str(watchlist),
        "TV_ETL_LAKE": str(tmp_path / "lake"),
        "TV_ETL_WS_URL": market_url,
    }.items():
        monkeypatch.setenv(name, value)
    target = ModuleTarget("tv_etl.definitions", None, working_directory=str(ROOT), location_name="tv_etl")
    with dg.DagsterInstance.get() as instance, create_test_daemon_workspace_context(target, instance) as context:
        # As `dagster instance concurrency set tradingview 1` does at set-up: else the first pass of a fresh instance
        # starts runs before the pool has its default limit.
        instance.event_log_storage.set_concurrency_slots("tradingview", 1)
        workspace = context.create_request_context()
        repository = workspace.get_code_location("tv_etl").get_repository("__repository__")
        job = repository.get_full_job("bars_job")
        first, second = (_submitted(instance, workspace, job) for _ in range(2))
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        deadline, seen, errors = time.monotonic() + HANG_S, set[int](), list[object]()
        while not all(_record(instance, run_id).dagster_run.is_finished for run_id in (first, second)):
            assert time.monotonic() < deadline, errors
            errors += [error for error in daemon.run_iteration(context) if error is not None]
            seen.add(len(instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))))
            time.sleep(0.1)  # the daemon's own pace
        assert max(seen) == 1
        records = [_record(instance, run_id) for run_id in (first, second)]
    assert [each.dagster_run.status for each in records] == [dg.DagsterRunStatus.SUCCESS] * 2, errors
    ended, started = records[0].end_time, records[1].start_time
    assert ended is not None
    assert started is not None
    assert ended <= started


def _record(instance: dg.DagsterInstance, run_id: str) -> dg.RunRecord:
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    return record


def _submitted(instance: dg.DagsterInstance, workspace: WorkspaceRequestContext, job: RemoteJob) -> str:
    location = workspace.get_code_location("tv_etl")
    plan = location.get_execution_plan(job, {}, None, None, instance)
    run = instance.create_run(
        job_name=job.name,
        run_id=None,
        run_config={},
        resolved_op_selection=None,
        step_keys_to_execute=None,
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags=range_tags(["1d|NASDAQ:AAPL"]),
        root_run_id=None,
        parent_run_id=None,
        job_snapshot=job.job_snapshot,
        execution_plan_snapshot=plan.execution_plan_snapshot,
        parent_job_snapshot=job.parent_job_snapshot,
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        asset_selection=None,
        asset_check_selection=None,
        op_selection=None,
        asset_graph=workspace.asset_graph,
    )
    instance.submit_run(run.run_id, workspace)
    return run.run_id


@pytest.mark.parametrize("file", [DEPLOY / "dagster.yaml", DEPLOY.parent / "dagster.yaml"])
@pytest.mark.parametrize("kind", InstigatorType)
def test_no_tick_is_kept_for_ever(kind: InstigatorType, file: Path, tmp_path: Path) -> None:
    retention = yaml.safe_dump({"retention": yaml.safe_load(file.read_text(encoding="utf-8"))["retention"]})
    (tmp_path / "dagster.yaml").write_text(retention, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        days = instance.get_tick_retention_settings(kind)
    assert set(days) >= {TickStatus.STARTED, TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.FAILURE}
    assert all(0 < each <= 90 for each in days.values())


# --- workspace.yaml and the commands


def test_the_workspace_names_the_code_server() -> None:
    (origin,) = location_origins_from_yaml_paths([str(DEPLOY / "workspace.yaml")])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    server = code_server()
    assert origin.host == "code"
    assert origin.port == server["port"]
    assert origin.location_name == server["location_name"]
    assert server["host"] == "0.0.0.0"


def test_the_code_server_serves_the_module_that_the_checkout_serves() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    assert entry["python_module"]["module_name"] == code_server()["module_name"]
    assert importlib.util.find_spec(code_server()["module_name"]) is not None


def test_a_health_check_asks_the_port_that_its_service_listens_on() -> None:
    assert parse_command(SERVICES["code"]["healthcheck"]["test"][1:])["port"] == code_server()["port"]
    port = parse_command(SERVICES["webserver"]["command"])["port"]
    script = SERVICES["webserver"]["healthcheck"]["test"][-1]
    compile(script, "healthcheck", "exec")
    assert f"127.0.0.1:{port}/server_info" in script
    assert parse_command(SERVICES["daemon"]["healthcheck"]["test"][1:]) == {}


@pytest.mark.parametrize("service", ["webserver", "daemon"])
def test_the_workspace_file_is_in_the_image(service: str) -> None:
    assert str(DEPLOY / "workspace.yaml") in parse_command(SERVICES[service]["command"])["workspace"]
    home = image_environment()["DAGSTER_HOME"]
    copied = {f"{destination.rstrip('/')}/{Path(source).name}" for source, destination in copied_from_checkout()}
    assert {f"{home}/dagster.yaml", f"{home}/workspace.yaml"} <= copied


# --- compose: who sees what


def test_the_example_names_exactly_what_is_read_from_the_environment() -> None:
    package = Path(tv_etl.__file__).parent
    read = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"\"(TV_ETL_\w+)\"", path.read_text(encoding="utf-8"))
    }
    targets = load_watchlist(ROOT / "watchlist.yaml").alerts.all_targets
    secrets = {variable for target in targets for variable in target.variables}
    fixed = set(SERVICES["code"]["environment"]) - interpolated_variables()
    assert set(example_variables()) == interpolated_variables() | (read | secrets) - fixed
    assert {"TV_ETL_WATCHLIST", "TV_ETL_LAKE"} <= fixed


def test_only_the_code_server_has_the_secrets_and_the_lake() -> None:
    assert {name for name in SERVICES if "env_file" in SERVICES[name]} == {"code"}
    lake = SERVICES["code"]["environment"]["TV_ETL_LAKE"]
    assert [name for name in SERVICES if mount_holding(lake, name)] == ["code"]


def test_the_watchlist_of_the_code_server_is_the_one_in_the_checkout() -> None:
    bound = mount_holding(SERVICES["code"]["environment"]["TV_ETL_WATCHLIST"], "code")
    assert bound is not None
    assert (DEPLOY / bound).resolve() == (ROOT / "watchlist.yaml").resolve()
    assert load_watchlist(DEPLOY / bound).groups


def test_all_of_dagster_shares_the_place_of_the_logs() -> None:
    for written in (INSTANCE["compute_logs"], INSTANCE["local_artifact_storage"]):
        assert {mount_holding(written["config"]["base_dir"], name) for name in APP} == {"dagster"}


def test_volumes_and_networks_are_declared_and_used() -> None:
    volumes = {source for name in SERVICES for source in mounts_of(name).values() if not source.startswith(".")}
    assert volumes == set(COMPOSE["volumes"])
    networks = {network for service in SERVICES.values() for network in service["networks"]}
    assert networks == set(COMPOSE["networks"])


def test_the_user_owns_the_volumes() -> None:
    (made,) = [command for command in arguments_of("RUN") if "install -d -o 1000" in command]
    targets = {target for name in APP for target, source in mounts_of(name).items() if not source.startswith(".")}
    assert targets
    assert targets <= set(made.split())


def test_services_wait_for_healthy_ones() -> None:
    for name in APP:
        for other, how in SERVICES[name]["depends_on"].items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]
        assert "postgres" in SERVICES[name]["depends_on"]


def test_only_the_web_interface_is_published_and_to_this_host_only() -> None:
    port = parse_command(SERVICES["webserver"]["command"])["port"]
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"webserver": [f"127.0.0.1:{port}:{port}"]}


def test_the_database_and_the_daemon_have_no_way_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert all("inside" in service["networks"] for service in SERVICES.values())
    assert {name for name in SERVICES if SERVICES[name]["networks"] == ["inside"]} == {"postgres", "daemon"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_cannot_take_the_host_with_it(name: str) -> None:
    service = SERVICES[name]
    assert 64 <= service["pids_limit"] <= 4096
    assert re.fullmatch("[1-8]g", service["mem_limit"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_little_harm(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert any(entry.split(":")[0] == "/tmp" for entry in service["tmpfs"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    assert not any("docker.sock" in volume for volume in service["volumes"])
    user = arguments_of("USER")[-1] if "build" in service else service["user"]
    assert user.split(":")[0] not in ("", "0", "root")


def test_no_secret_is_in_the_image_or_in_the_compose_file() -> None:
    assert not [name for name in image_environment() if SECRET_NAME.search(name)]
    assert {name.split("=")[0] for name in arguments_of("ARG")} == {"PIP_INDEX_URL"}
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert not SECRET_NAME.search(name) or value.startswith("${"), name
    assert not [name for name, value in example_variables().items() if value]
    assert ".env" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()


# --- the image


def test_images_are_pinned_by_version() -> None:
    stages = {arguments.split(" AS ")[1] for arguments in arguments_of("FROM") if " AS " in arguments}
    bases = {arguments.split(" AS ")[0] for arguments in arguments_of("FROM")} - stages
    pulled = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert bases and pulled
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z-]+", image) for image in bases | pulled)


def test_python_of_the_image_is_one_that_the_package_supports() -> None:
    base = next(arguments for arguments in arguments_of("FROM") if arguments.startswith("python:"))
    version = base.split(":")[1].split("-")[0]
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])
    assert version in SpecifierSet("<3.14"), "constraints.txt was made for 3.10 to 3.13"


def test_the_image_is_installed_from_what_pyproject_needs() -> None:
    sources = {source for source, _ in copied_from_checkout()}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    named = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert {"pyproject.toml", "constraints.txt", *named, *packages} <= sources
    (install,) = [command for command in arguments_of("RUN") if "pip install" in command]
    assert "-c constraints.txt" in install
    extras = re.search(r"\[([\w,]+)\]", install)
    assert extras is not None
    assert set(extras[1].split(",")) == {"ui", "deploy", "s3"} <= set(PROJECT["project"]["optional-dependencies"])


def test_every_direct_dependency_of_the_image_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = {Requirement(line).name for line in PROJECT["project"]["dependencies"] + extras["ui"] + extras["deploy"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    assert wanted <= pinned


def test_docker_is_sent_what_the_image_needs_and_nothing_else() -> None:
    for source, _ in copied_from_checkout():
        assert (ROOT / source).exists(), source
        assert is_sent_to_docker(source), source
    assert is_sent_to_docker("tv_etl/tradingview/ohlcv.py")
    private = (".git/config", ".venv/bin/python", "demo/lake/x", "lake/x", "deploy/.env", ".env", "tv_etl_tests/x.py")
    assert not [path for path in (*private, "tv_etl/__pycache__/assets.pyc") if is_sent_to_docker(path)]


# --- Docker's own opinion


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    compose = _docker_compose()
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    shutil.copy(ROOT / "watchlist.yaml", tmp_path)
    example = (tmp_path / "deploy" / ".env.example").read_text(encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in example_variables()}

    def config(env_file: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "deploy" / ".env").write_text(env_file, encoding="utf-8")
        command = [*compose, "-f", "docker-compose.yaml", "config"]
        return subprocess.run(command, cwd=tmp_path / "deploy", env=environment, capture_output=True, text=True)

    refused = config(example)
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD" in refused.stderr
    accepted = config(example.replace("POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=abc"))
    assert accepted.returncode == 0, accepted.stderr
    services = yaml.safe_load(accepted.stdout)["services"]
    assert set(services) == set(SERVICES)
    assert services["code"]["environment"]["POSTGRES_PASSWORD"] == "abc"
    assert "TV_ETL_AUTH_TOKEN" not in services["webserver"]["environment"]


def _docker_compose() -> list[str]:
    """The compose command of this machine; `config` needs no engine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    pytest.skip("neither `docker compose` nor docker-compose is installed")


# --- the proxy


class Backend(ThreadingHTTPServer):
    """What stands behind the proxy; it counts what reaches it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BackendHandler)
        self.calls: list[str] = []


class BackendHandler(BaseHTTPRequestHandler):
    server: Backend

    def do_GET(self) -> None:
        self.server.calls.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[str, Backend, ssl.SSLContext]]:
    """A real nginx with the recipe of README.md: its address, what stands behind it, and whom to trust."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    authority, port, backend = trustme.CA(), free_port(), Backend()
    certificate = authority.issue_cert("dagster.example.com", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "dagster.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "dagster.key"))
    (tmp_path / "tv_etl.htpasswd").write_text("ann:{PLAIN}right\n", encoding="utf-8")
    recipe = re.findall("```nginx\n(.*?)```", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/": f"{tmp_path}/",
        "/etc/nginx/": f"{tmp_path}/",
        "127.0.0.1:3000": f"127.0.0.1:{backend.server_port}",
    }.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    user = "user root;" if os.geteuid() == 0 else ""  # the files of this test are its own user's
    bodies = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi"))
    more = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("uwsgi", "scgi"))
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; {user} pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;\nevents {{}}\n"
        f"http {{ access_log off; {bodies} {more}\n{recipe}}}\n",
        encoding="utf-8",
    )
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    process = subprocess.Popen([nginx, "-c", str(config), "-e", str(tmp_path / "error.log")])
    try:
        wait_until(lambda: process.poll() is not None or accepts(port), "nginx listens")
        assert process.poll() is None, (tmp_path / "error.log").read_text(encoding="utf-8")
        yield f"https://127.0.0.1:{port}", backend, trust
    finally:
        process.terminate()
        process.wait(HANG_S)
        backend.shutdown()
        thread.join()
        backend.server_close()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


MUTATION = "/graphql?query=mutation{terminateRuns(runIds:[]){__typename}}"
HOME, ELSEWHERE = {"Origin": "https://dagster.example.com"}, {"Origin": "https://evil.example"}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


@pytest.mark.slow
def test_the_proxy_wants_a_login_and_refuses_what_other_pages_send(
    proxied: tuple[str, Backend, ssl.SSLContext],
) -> None:
    url, backend, trust = proxied
    with httpx.Client(base_url=url, verify=trust, headers={"Host": "dagster.example.com"}, trust_env=False) as client:
        for login in (httpx.USE_CLIENT_DEFAULT, httpx.BasicAuth("ann", "wrong"), httpx.BasicAuth("bob", "right")):
            assert client.get("/", auth=login).status_code == 401
            assert client.post("/graphql", json={}, auth=login).status_code == 401
        client.auth = httpx.BasicAuth("ann", "right")
        # A link and a form of another page, with the login that the browser adds by itself.
        for path in (MUTATION, f"/{MUTATION}", MUTATION.replace("?", "/?"), MUTATION.replace("/g", "/%67")):
            assert client.get(f"{url}{path}").status_code == 403, path
            assert client.get(f"{url}{path}", headers=HOME).status_code == 403, path
        assert client.post("/graphql", json={}, headers=ELSEWHERE).status_code == 403
        assert client.post("/graphql", json={}, headers={"Origin": "null"}).status_code == 403
        assert client.get("/graphql", headers={**UPGRADE, **ELSEWHERE}).status_code == 403
        assert backend.calls == []
        # What its own pages send arrives.
        assert client.get("/").status_code == 200
        assert client.post("/graphql", json={}, headers=HOME).status_code == 200
        assert client.get("/graphql", headers={**UPGRADE, **HOME}).status_code == 200
    assert backend.calls == ["GET /", "POST /graphql", "GET /graphql"]


def test_the_file_of_secrets_is_made_for_nobody_else_to_read() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert "cp .env.example .env && chmod 600 .env" in text
