"""Proxies of other people, as processes: tinyproxy for HTTP CONNECT, microsocks for SOCKS 5; skipped without them."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tv_etl_tests.patience import HANG_S, wait_until
from tv_etl_tests.processes import free_port, leash

LOGIN = ("somebody", "s3cr3t-w0rd")


@contextmanager
def http_proxy(directory: Path, *, has_login: bool = False) -> Iterator[str]:
    """The address of an HTTP proxy, without the login that it may want."""
    port = free_port()
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 600", "Allow 127.0.0.1"]
    lines += [f"BasicAuth {LOGIN[0]} {LOGIN[1]}"] * has_login
    config = directory / "tinyproxy.conf"
    config.write_text("\n".join(lines), encoding="ascii")
    with _running("tinyproxy", ["-d", "-c", str(config)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def socks_proxy(*, has_login: bool = False) -> Iterator[str]:
    """The address of a SOCKS proxy, without the login that it may want."""
    port = free_port()
    login = ["-u", LOGIN[0], "-P", LOGIN[1]] if has_login else []
    with _running("microsocks", ["-i", "127.0.0.1", "-p", str(port), *login], port):
        yield f"socks5h://127.0.0.1:{port}"


def with_login(url: str, login: tuple[str, str] = LOGIN) -> str:
    """The address of a proxy, with a login in it."""
    return url.replace("://", f"://{login[0]}:{login[1]}@")


@contextmanager
def _running(program: str, arguments: list[str], port: int) -> Iterator[None]:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    with (
        subprocess.Popen(
            [path, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as started,
        leash(started.pid),
    ):
        try:
            wait_until(lambda: _listens(port), f"{program} listens")
            yield
        finally:
            started.terminate()
            with suppress(subprocess.TimeoutExpired):
                started.wait(HANG_S)
            started.kill()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
