"""A test run that is killed leaves nothing running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tv_etl_tests.patience import wait_until

# A module process with a child of its own, as `dagster dev` has them.
RUN = """
import os, sys
from pathlib import Path
from tv_etl_tests.processes import module_process

with module_process(["sleeper"], Path(sys.argv[1]), {**os.environ, "PYTHONPATH": sys.argv[1]}) as sleeper:
    while len(pids := (Path(sys.argv[1]) / "sleeper.log").read_text().split()) < 2:
        pass
    print(*pids, flush=True)
    sleeper.wait()
"""
SLEEPER = """
import os, subprocess, sys, time
print(os.getpid(), flush=True)
command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"]
subprocess.run(command)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_run_had_started_ends_with_it(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER, encoding="utf-8")
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert [is_running(pid) for pid in pids] == [True, True]
        run.send_signal(how)
    wait_until(lambda: not any(map(is_running, pids)), f"{pids} end")


def is_running(pid: int) -> bool:
    """True unless it is gone, or dead and not waited for by whoever has it now."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
