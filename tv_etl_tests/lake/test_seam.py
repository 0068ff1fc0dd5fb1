"""A seam says where two sides meet and what is on either, and is open until something resolves it."""

from tv_etl.lake.seam import Seam


def test_a_seam_shows_both_sides() -> None:
    sides = (1_793_534_400, 12.5), (1_793_620_800, 240.1)
    seam = Seam(1_793_620_800, 1_793_700_000.0, "no bar is both stored and served", *sides)
    assert str(seam) == "2026-11-02 12:00Z: 12.5 before (2026-11-01 12:00Z), 240.1 after"
    assert seam.is_open
