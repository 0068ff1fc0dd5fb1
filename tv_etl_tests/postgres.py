"""A PostgreSQL of a test's own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tv_etl.alerts.database import StoreError
from tv_etl.alerts.store import AlertStore
from tv_etl_tests.patience import wait_until
from tv_etl_tests.processes import free_port


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of an empty database, whose server ends with the context; the test is skipped where there is none."""
    pytest.importorskip("psycopg2")
    program, initdb = shutil.which("postgres"), shutil.which("initdb")
    if program is None or initdb is None:
        pytest.skip("needs PostgreSQL")
    # It refuses to be root's.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, port = Path(folder) / "data", free_port()
        command = [initdb, "-D", str(data), "-U", "tv", "-A", "trust"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, user=user)
        command = [program, "-D", str(data), "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, user=user
        ) as server:
            url = f"postgresql://tv@127.0.0.1:{port}/postgres"
            try:
                wait_until(lambda: _is_reached(url), "PostgreSQL answers")
                yield url
            finally:
                server.terminate()


def _is_reached(url: str) -> bool:
    try:
        AlertStore(url)
    except StoreError:
        return False
    return True
