"""What a run asks for; what becomes of it is in test_assets and test_checks."""

from typing import Any

import dagster as dg
import pytest

from tv_etl.bars_run import BarsConfig, _moment


def test_the_launchpad_explains_every_field() -> None:
    fields: Any = getattr(BarsConfig.to_config_schema().as_field().config_type, "fields")  # noqa: B009
    assert set(fields) == {"start", "end", "refetch", "only"}
    assert all(field.description for field in fields.values())
    assert not any(field.is_required for field in fields.values())


def test_a_time_needs_a_zone() -> None:
    moment = _moment("start", "2026-11-02T14:30:00Z")
    assert moment is not None
    assert moment.isoformat() == "2026-11-02T14:30:00+00:00"
    assert _moment("start", "") is None
    for text in ("2026-11-02", "2026-11-02T14:30:00", "soon"):
        with pytest.raises(dg.Failure, match=text):
            _moment("start", text)
