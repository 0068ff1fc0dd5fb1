"""Processes of tests: what a test started ends with it, also where the test itself is killed."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tv_etl_tests.patience import HANG_S

# Its input ends when whoever started it ends, by whatever signal; then it kills the process group.
_LEASH = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"


@contextmanager
def leash(group: int) -> Iterator[None]:
    """While the context lasts, the process group dies with this process."""
    command = [sys.executable, "-I", "-S", "-c", _LEASH, str(group)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as holder:
        try:
            yield
        finally:
            holder.kill()


@contextmanager
def module_process(
    arguments: list[str], directory: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python module as a process that ends with its children, whatever happens; its output is kept in a file."""
    with (
        (directory / f"{'-'.join(arguments[:2])}.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as started,
        leash(started.pid),
    ):
        try:
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                started.wait(timeout=HANG_S)
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def free_port() -> int:
    """A port for a server that cannot choose one: from below those that the system gives to everybody else."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
