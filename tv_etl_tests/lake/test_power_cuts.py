"""The power fails between any two system calls of a writer: a disk keeps what was synced, and of the rest anything.

The disk is a file system in a file. The writer stands still while the file is copied: the copy is what the disk holds,
and lacks what the kernel had still in memory. It is mounted and read as after the next start.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tv_etl.lake.storage.journal import FileGroup
from tv_etl_tests.patience import HANG_S

pytestmark = pytest.mark.slow

CUTS = 12
SERIES = ("A", "B")
MAY_MOUNT = "truncate -s 32M disk && mkfs.ext4 -q disk && mkdir mounted && mount -o loop disk mounted"


def group_of(base: Path, series: str) -> FileGroup:
    return FileGroup(base, base / ".tv_etl" / "1m" / series, "series.json")


def write_for_ever(base: Path) -> None:
    """Commit after commit, each of files that exist, now and then of a new one; print what was acknowledged."""
    number = 0
    while True:
        number += 1
        for series in SERIES:
            group, data = group_of(base, series), base / "ohlcv" / series
            with group.writing() as transaction:
                transaction.stage(data / "large.parquet", b"%d " % number * 4_000)
                transaction.stage(data / "small.parquet", b"%d " % number)
                if number % 3 == 0:
                    transaction.stage(data / f"{number % 90}.parquet", b"%d " % number)
                transaction.stage(group.head, b'{"number": %d}' % number)
                transaction.publish()
            print(series, number, flush=True)


def state_of(base: Path, series: str) -> int:
    """The number of the commit that all files are of; what a power cut must not leave fails."""
    group, data = group_of(base, series), base / "ohlcv" / series

    def look() -> int:
        numbers = (data / "large.parquet").read_bytes().split()
        assert len(numbers) == 4_000
        numbers += [
            *(data / "small.parquet").read_bytes().split(),
            b"%d" % json.loads(group.head.read_bytes())["number"],
        ]
        assert len({*numbers}) == 1, {*numbers}
        newest = int(numbers[0]) // 3 * 3
        assert not newest or (data / f"{newest % 90}.parquet").read_bytes() == b"%d " % newest
        return int(numbers[0])

    return group.reading(look)


def cut_power(directory: Path) -> None:
    """Mount a disk, let a writer run, and look at copies of the disk; prints how many had a commit half done."""
    subprocess.run(MAY_MOUNT, shell=True, check=True, cwd=directory)
    code = "import sys; from pathlib import Path; from tv_etl_tests.lake.test_power_cuts import write_for_ever as write"
    command = [sys.executable, "-c", f"{code}; write(Path(sys.argv[1]))", str(directory / "mounted")]
    has_begun = threading.Event()
    dice, acknowledged, half_done = random.Random(5), dict[str, int](), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = writer.stdout

        def listen() -> None:
            for line in lines:
                series, number = line.split()
                acknowledged[series] = int(number)
                if len(acknowledged) == len(SERIES):
                    has_begun.set()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            assert has_begun.wait(HANG_S)
            for _ in range(CUTS):
                time.sleep(dice.uniform(0.01, 0.1))
                writer.send_signal(signal.SIGSTOP)
                assert os.WIFSTOPPED(os.waitpid(writer.pid, os.WUNTRACED)[1])
                shutil.copyfile(directory / "disk", directory / "copy")
                before = dict(acknowledged)
                writer.send_signal(signal.SIGCONT)
                half_done += look_at_copy(directory, before)
        finally:
            writer.kill()
            listener.join()
    print(half_done)


def look_at_copy(directory: Path, acknowledged: dict[str, int]) -> int:
    """How many commits were half done in the copy. Fails where one that was acknowledged is not whole there."""
    base = directory / "after"
    base.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", directory / "copy", base], check=True)
    try:
        half_done = sum(group_of(base, series).has_journal for series in acknowledged)
        for series, number in acknowledged.items():
            assert state_of(base, series) >= number
        return half_done
    finally:
        subprocess.run(["umount", base], check=True)


def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    trial = tmp_path / "trial"
    trial.mkdir()
    may_mount = ["unshare", "-m", "sh", "-c", MAY_MOUNT]
    if (
        shutil.which("unshare") is None
        or subprocess.run(may_mount, cwd=trial, capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk can be mounted here: no power was cut")
    code = "import sys; from pathlib import Path; from tv_etl_tests.lake.test_power_cuts import cut_power as cut"
    command = ["unshare", "-m", sys.executable, "-c", f"{code}; cut(Path(sys.argv[1]))", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    print(f"{CUTS} cuts: {done.stdout.strip()} commits were half done, and completed")
