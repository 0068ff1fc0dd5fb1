"""`tv-etl seam`: what is shown, and what resolves it."""

from pathlib import Path

from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl_tests.cli.test_status_table import printed
from tv_etl_tests.collect.served_market import PLAIN, SERIES, enter, table
from tv_etl_tests.command import call
from tv_etl_tests.conftest import NOW


def test_a_seam_is_shown_and_resolved_by_a_command(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    for start in (0, 500):
        update = store.update_of(SERIES, table(PLAIN[start : start + 100]))
        enter(store, update)
    arguments = ("seam", SERIES.symbol, "1m", "--lake", str(tmp_path))
    assert "seam" in next(line for line in printed(lake_status(store, NOW), NOW) if SERIES.symbol in line)
    assert "not proven to join: no bar is both" in " ".join(
        call("status", SERIES.symbol, *arguments[3:]).stdout.split()
    )
    shown = call(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{PLAIN[99][4]:.10g} before" in shown.stdout and f"{PLAIN[500][4]:.10g} after" in shown.stdout
    wrong = call(*arguments, "mend")
    assert wrong.returncode == 1 and "'mend' resolves no seam" in wrong.stderr
    assert "resolved: scale 0.5 (volume × 2)" in call(*arguments, "scale", "0.5").stdout
    assert store.read(*SERIES)["close"][0].as_py() == PLAIN[0][4] / 2
    again = call(*arguments, "accept")
    assert (again.returncode, again.stdout) == (1, "NASDAQ:SPLT 1m has no open seam\n")
