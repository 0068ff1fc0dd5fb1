"""The tv-etl command in processes of its own, as a user calls it; with a terminal where it wants one."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tv_etl_tests.patience import HANG_S

TV_ETL = str(Path(sys.executable).with_name("tv-etl"))

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def call(*arguments: str, url: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; the market is found by the environment."""
    return subprocess.run(
        [TV_ETL, *arguments],
        cwd=cwd,
        env={**os.environ, "TV_ETL_WS_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a fetch said on stderr, but for the summary, which is its last line."""
    *lines, summary = done.stderr.splitlines()
    assert re.fullmatch(r"wrote [\d,]+ bars of [\d,]+( of [\d,]+)? series in [\d.]+ s", summary), done.stderr
    return lines


class Terminal:
    """What a command shows on a terminal of 120 columns, and its process."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.shown = b""
        self._master = master

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and movements."""
        return _ESCAPES.sub(b"", self.shown).decode(errors="replace")

    def read_until(self, is_there: Callable[[], bool]) -> None:
        """Read on until the condition holds. Fails with what was shown."""
        deadline = time.monotonic() + HANG_S
        while not is_there():
            assert time.monotonic() < deadline and self._read(), self.text[-2_000:]

    def wait(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + HANG_S
        while self._read():
            assert time.monotonic() < deadline, self.text[-2_000:]
        return self.process.wait(HANG_S)

    def _read(self) -> bool:
        """Read what comes soon; False at the end."""
        if select.select([self._master], [], [], 0.2)[0]:
            try:
                self.shown += os.read(self._master, 65_536)
            except OSError:  # the other side is closed
                return False
        return True


@contextmanager
def on_terminal(arguments: Sequence[str], *, url: str) -> Iterator[Terminal]:
    """Run the command on a terminal; it is killed if it outlives the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    environment = {**os.environ, "TV_ETL_WS_URL": url, "TERM": "xterm-256color"}
    process = subprocess.Popen([TV_ETL, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
