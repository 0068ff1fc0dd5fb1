"""PagerDuty's incidents; its limits are tried in test_configured."""

from dataclasses import asdict
from pathlib import Path

from tv_etl.alerts.courier import deliver
from tv_etl.alerts.reminders import acknowledgement
from tv_etl.alerts.store import AlertStore
from tv_etl_tests.alerts.targets.services import NOW
from tv_etl_tests.alerts.targets.setups import KINDS, make_alert, running
from tv_etl_tests.patience import HANG_S


def test_what_is_over_resolves_the_incident_that_it_began(tmp_path: Path) -> None:
    store = AlertStore(tmp_path / "alerts.sqlite")
    with running("pagerduty") as setup:
        began, other = make_alert(1, severity="critical", groups=("us",)), make_alert(2)
        over = make_alert(3, ends=began.event_id)
        store.add([began, other], [setup.target.key])
        assert deliver(store, [setup.target], NOW, HANG_S).sent == 2
        assert sorted(setup.service.open) == [began.event_id, other.event_id]
        payload = setup.service.open[began.event_id]["payload"]
        assert (payload["severity"], payload["source"], payload["group"]) == ("critical", "NASDAQ:AAPL", "us")
        assert (payload["class"], payload["component"]) == ("cross_up", "rule-1")
        assert payload["timestamp"] == "2026-09-21T14:13:00Z"
        assert payload["custom_details"]["price"] == 10.5
        store.add([over], [setup.target.key])
        setup.service.now = NOW + 60
        assert deliver(store, [setup.target], NOW + 60, HANG_S).sent == 1
        assert sorted(setup.service.open) == [other.event_id]


def test_alerts_that_were_grouped_for_another_target_go_one_by_one(tmp_path: Path) -> None:
    """A target may be changed while a group waits for it; nothing of the group is lost."""
    store = AlertStore(tmp_path / "alerts.sqlite")
    with running("pagerduty") as setup:
        store.add([make_alert(number) for number in range(4)], [setup.target.key])
        assert len(store.take_group(NOW, setup.target.key, 1)) == 4
        assert deliver(store, [setup.target], NOW, HANG_S).sent == 4
        assert len({each["dedup_key"] for each in setup.service.taken}) == 4


def test_an_acknowledgement_is_told_of_the_same_incident(tmp_path: Path) -> None:
    store = AlertStore(tmp_path / "alerts.sqlite")
    with running("pagerduty") as setup:
        began = make_alert(1)
        store.add([began], [setup.target.key])
        deliver(store, [setup.target], NOW, HANG_S)
        acked = acknowledgement(began.event_id, asdict(began.event), NOW + 60)
        assert setup.target.wants(acked.event)
        store.add([acked], [setup.target.key])
        setup.service.now = NOW + 60
        assert deliver(store, [setup.target], NOW + 60, HANG_S).sent == 1
        assert setup.service.acknowledged == {began.event_id}
        assert list(setup.service.open) == [began.event_id]


def test_a_service_without_the_notion_is_told_of_no_acknowledgement() -> None:
    acked = acknowledgement("a" * 32, asdict(make_alert(1).event), NOW)
    for kind in KINDS:
        with running(kind) as setup:
            assert setup.target.wants(acked.event) is (kind == "pagerduty")
