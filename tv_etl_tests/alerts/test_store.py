"""The store of a tick: what is written together is read as it was, in a file and in a PostgreSQL database."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tv_etl.alerts.by_hand import Ack
from tv_etl.alerts.cap import Mute
from tv_etl.alerts.database import SCHEMA_VERSION, StoreBusy
from tv_etl.alerts.deliveries import DeliveryStats, TargetHealth
from tv_etl.alerts.fold import Alert
from tv_etl.alerts.reminders import Reminder
from tv_etl.alerts.rules import AboveRule, AlertRule, read_rule
from tv_etl.alerts.state import AlertState, ArmingKey, Close, Generation, Health, RuleState, SymbolState
from tv_etl.alerts.store import KEEP_S, AlertStore, Handled
from tv_etl_tests.alerts.test_deliveries import HERE, THERE, make_alerts
from tv_etl_tests.postgres import postgres_server


@pytest.mark.slow
def test_a_postgresql_database_is_a_store_too() -> None:
    with postgres_server() as url:
        prove(url)
        with AlertStore(url).exclusive(), AlertStore(url, "other").exclusive():
            assert AlertStore(url, "other").load().tick == 0


def prove(place: Path | str) -> None:
    """What any store does: a tick's writing, the lock, delivery, dead letters, pruning."""
    one = AlertStore(place)
    rules = [AboveRule(name="a", symbol="X:Y", kind="above", level=1.0)]
    memory = one.load()
    registry = memory.registry.register(rules, 5.0)
    [registered] = registry.registered(rules)
    symbols = {"X:Y": SymbolState(60, (Close(60, 2.0),), Health("late", 1.0, "x"), 5.0, hours="{}")}
    state = AlertState({registered.key: RuleState(60, 0, True, True, True, 120)}, symbols)
    assert one.commit(memory, rules, registry, state, make_alerts(7), [HERE, THERE], 5.0, {"a": "b"}, {}).tick == 1
    known = AlertStore(place).load()
    assert (known.registry, known.state, known.flags["a"]) == (registry, state, "b")
    with one.exclusive(), pytest.raises(StoreBusy), AlertStore(place).exclusive():
        pass
    group = one.take_group(10.0, HERE, group_above=5)
    assert len(group) == 7 and one.take_group(10.0, HERE, group_above=5) == group
    one.mark_sent(group, 10.0)
    one.hold(THERE, 60.0, 10.0, "HTTP 500")
    assert one.pending(20.0) == [] and len(one.pending(60.0)) == 7
    one.mark_dead(one.pending(60.0), 60.0, "HTTP 410")
    assert one.load().untold == {THERE: (7, "HTTP 410")}
    assert one.resend() == 7 and one.stats == DeliveryStats(7, 7, 0)
    one.mark_sent(one.pending(60.0), 60.0)
    mute = one.mute("a", "", 600, 60.0)
    acked = one.acknowledge(one.newest(1)[0].event_id, 61.0).event_id
    handled = Handled({mute.key: 2}, [], [acked], {acked: Reminder(60.0, 1)})
    assert one.commit(known, rules, registry, state, [], [], 65.0, {}, {}, {}, handled).tick == 2
    after = one.load()
    assert (after.hand_mutes, after.acks) == ((mute._replace(kept_back=2),), {acked: Ack(61.0, 65.0)})
    assert after.reminders == {acked: Reminder(60.0, 1)}
    assert one.commit(one.load(), [], registry.register([], 70.0), AlertState(), [], [], 70.0, {}, {}).tick == 3
    assert one.load().state == AlertState()
    assert one.prune(40 * 86_400.0) == 7


def test_a_file_is_a_store(tmp_path: Path) -> None:
    prove(tmp_path / "alerts.sqlite")


def rule(name: str) -> AlertRule:
    return AboveRule(name=name, symbol="X:Y", kind="above", level=1.0)


def write(one: AlertStore, names: str, now: float, alerts: Iterable[Alert] = (), **flags: str) -> None:
    """A tick in which rules of these names are registered and armed."""
    before, rules = one.load(), [rule(name) for name in names]
    registry = before.registry.register(rules, now)
    armings = {each.key: RuleState(int(now)) for each in registry.registered(rules)}
    state = AlertState(armings, {"X:Y": SymbolState(int(now))})
    one.commit(before, rules, registry, state, alerts, [HERE], now, flags, {THERE: TargetHealth(1, now)})


def test_a_tick_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Alerts come last: where they cannot be written, nothing else of the tick is."""
    one = AlertStore(tmp_path / "alerts.sqlite")
    write(one, "a", 5.0, make_alerts(1), blind_since="1")
    before = one.load()

    def broken() -> Iterator[Alert]:
        yield from make_alerts(3, start=1)
        raise OSError("no space left on the device")

    with pytest.raises(OSError, match="no space"):
        write(one, "ab", 60.0, broken(), blind_since="2")
    assert one.load() == before
    assert one.stats == DeliveryStats(1, 0, 0)


def test_what_is_gone_is_forgotten_but_for_what_others_may_still_ask_for(tmp_path: Path) -> None:
    one = AlertStore(tmp_path / "alerts.sqlite")
    write(one, "ab", 5.0, kept="yes")
    write(one, "b", 65.0)
    known = one.load()
    assert list(known.registry.rules) == ["b"]
    assert [key.rule for key in known.state.armings] == ["b"]
    assert known.flags["kept"] == "yes" and known.flags["tick"] == "2"
    assert known.targets == {THERE: TargetHealth(1, 65.0)}


def test_no_generation_is_given_twice_although_its_rule_is_gone(tmp_path: Path) -> None:
    one = AlertStore(tmp_path / "alerts.sqlite")
    write(one, "a", 5.0)
    write(one, "", 5.0)
    assert one.load().registry.last == 5_000
    write(one, "a", 5.0)
    assert one.load().registry.rules["a"].generation == 5_001


def test_what_was_delivered_a_month_ago_is_pruned_and_what_waits_never_is(tmp_path: Path) -> None:
    one = AlertStore(tmp_path / "alerts.sqlite")
    one.add(make_alerts(3), [HERE])
    sent, dead, _ = one.pending(100.0)
    one.mark_sent([sent], 100.0)
    one.mark_dead([dead], 100.0, "HTTP 410")
    assert one.prune(99.0 + KEEP_S) == 0
    assert one.prune(100.0 + KEEP_S) == 1
    assert one.prune(1e12) == 0
    assert one.stats == DeliveryStats(1, 0, 1)


def test_rules_that_were_retired_a_month_ago_are_pruned(tmp_path: Path) -> None:
    one = AlertStore(tmp_path / "alerts.sqlite")
    write(one, "ab", 5.0)
    write(one, "b", 65.0)
    for now, names in ((65.0 + KEEP_S - 1, {"a", "b"}), (65.0 + KEEP_S, {"b"}), (1e12, {"b"})):
        one.prune(now)
        with one._transaction() as db:
            assert set(db.exec_driver_sql("SELECT name FROM rule").scalars()) == names


LATER = ("hand_mute", "ack", "reminder")  # than version 2


def test_a_store_of_version_2_gets_what_is_done_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    write(AlertStore(path), "a", 5.0, make_alerts(1))
    with closing(sqlite3.connect(path)) as db:
        for table in LATER:
            db.execute(f"DROP TABLE {table}")
        db.execute("UPDATE meta SET value = '2' WHERE name = 'version'")
        db.commit()
    one = AlertStore(path)
    assert list(one.load().registry.rules) == ["a"]
    one.mute("a", "", 60, 5.0)
    assert one.acknowledge("000000", 6.0).is_new
    again = AlertStore(path).load()
    assert (len(again.hand_mutes), len(again.acks), again.reminders) == (1, 1, {})
    assert again.flags["version"] == str(SCHEMA_VERSION)


def test_a_store_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    AlertStore(path)
    with closing(sqlite3.connect(path)) as db:
        for table in LATER:
            db.execute(f"DROP TABLE {table}")
        for column in ("seen", "pending", "base", "ends", "day", "levels", "levels_from", "levels_until", "levels_day"):
            db.execute(f"ALTER TABLE arming DROP COLUMN {column}")
        db.execute("ALTER TABLE rule DROP COLUMN members")
        db.execute("DROP TABLE mute")
        db.execute("INSERT INTO rule VALUES (7, 'r', 'x', '{}', 1.0, NULL)")
        db.execute("INSERT INTO arming VALUES ('r', 7, 'X:A', 60, 120, 1, 0, 0, 180)")
        db.execute("UPDATE meta SET value = '1' WHERE name = 'version'")
        db.commit()
    for _ in range(2):
        memory = AlertStore(path).load()
        assert memory.state.armings == {ArmingKey("r", 7, "X:A"): RuleState(60, 120, True, False, False, 180)}
        assert (memory.registry.rules, memory.mutes) == ({"r": Generation(7, "x", 1.0)}, {})


def test_levels_members_and_mutes_are_remembered(tmp_path: Path) -> None:
    store = AlertStore(tmp_path / "alerts.sqlite")
    listed = read_rule({"name": "r", "symbols": ["X:A", "X:B"], "kind": "above", "level": "high(2)", "interval": "1d"})
    memory = store.load()
    registry = memory.registry.register([listed], 5.0)
    state = RuleState(60, seen=120, base=9.5, ends=0, day=7, levels=(1.5, None), levels_from=60, levels_until=90)
    state = state._replace(levels_day=3, pending=2)
    armings = {each.key: state for each in registry.registered([listed])}
    mutes = {"r": Mute(5000, (1.0, 2.5), 99.0, 4)}
    store.commit(memory, [listed], registry, AlertState(armings), [], [], 5.0, {}, {}, mutes)
    known = store.load()
    assert (dict(known.state.armings), known.mutes) == (armings, mutes)
    assert known.registry.rules["r"].members == {"X:A": 5000, "X:B": 5000}
    more = read_rule({"name": "r", "symbols": ["X:B", "X:C"], "kind": "above", "level": "high(2)", "interval": "1d"})
    grown = known.registry.register([more], 5.0)
    store.commit(known, [more], grown, AlertState(), [], [], 6.0, {}, {}, {})
    again = store.load()
    assert again.registry.rules["r"].members == {"X:B": 5000, "X:C": 5001}
    assert (again.registry.last, again.mutes) == (5001, {})
