"""A call by itself; what may become of one is in test_courier, test_configured and test_email."""

import asyncio

import pytest

from tv_etl.alerts.events import Event
from tv_etl.alerts.targets.calls import call_once, in_thread
from tv_etl.alerts.targets.target import Envelope
from tv_etl_tests.alerts.targets.setups import KINDS, running
from tv_etl_tests.patience import HANG_S

EVENT = Event("0" * 32, text="a test", detected_at=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_by_hand_has_what_was_answered(kind: str) -> None:
    with running(kind) as setup:
        verdict = asyncio.run(call_once(setup.target, Envelope(EVENT.event_id, [EVENT], False, 1.0), HANG_S))
        assert verdict.is_sent
        assert verdict.answer.startswith(f"HTTP {setup.service.statuses[0]}: ")


def test_a_proxy_that_is_none_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TV_ETL_PROXY", "ftp://proxy.example/")
    with running("slack") as setup, pytest.raises(ValueError, match="TV_ETL_PROXY: expected the address of a proxy"):
        asyncio.run(call_once(setup.target, Envelope(EVENT.event_id, [EVENT], False, 1.0), HANG_S))


def test_what_fails_in_a_thread_fails_here() -> None:
    def fail() -> int:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        asyncio.run(in_thread(fail, HANG_S))
