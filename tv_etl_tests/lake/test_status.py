"""What is known of the series of a lake, for machines."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa

from tv_etl.lake.status import lake_status
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.bar_schema import BAR_SCHEMA
from tv_etl_tests.conftest import NOW

HOURS = json.dumps({"session": "24x7", "timezone": "Etc/UTC"})


def stored(store: BarStore, symbol: str, opens: list[datetime], asked_until: datetime) -> None:
    facts = {
        "forming_from": "",
        "trading_hours": HOURS,
        "asked_from": f"{opens[0].timestamp():.0f}",
        "asked_until": f"{asked_until.timestamp():.0f}",
        "window_bars": "3000",
        "window_from": f"{opens[0].timestamp():.0f}",
    }
    columns = [pa.array(opens, BAR_SCHEMA.field(0).type), *[pa.array([1.0] * len(opens))] * 5]
    schema = BAR_SCHEMA.with_metadata({f"tv_etl.{key}": value for key, value in facts.items()})
    store.upsert(symbol, "1m", pa.Table.from_arrays(columns, schema=schema))


def test_machines_get_the_same_as_json(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    stored(store, "X:Y", [NOW], NOW + timedelta(minutes=1))
    [status] = lake_status(store, NOW)
    open_minute = NOW.replace(microsecond=0)
    assert status.to_dict() == {
        "symbol": "X:Y",
        "interval": "1m",
        "bars": 1,
        "bytes": next(Path(store.uri("X:Y", "1m")).iterdir()).stat().st_size,
        "first": open_minute.isoformat(),
        "last": open_minute.isoformat(),
        "has_cadence": True,
        "completeness": 1.0,
        "gaps": 0,
        "missing_sessions": 0,
        "revisions": 0,
        "readjustments": 0,
        "quarantined": 0,
        "withdrawn": 0,
        "unreadable_hours": None,
        "renamed_to": None,
        "seam": None,
        "refused": None,
        "loss_deadline": datetime(2026, 11, 20, 17, 2, tzinfo=timezone.utc).isoformat(),
        "error": None,
    }


def test_what_the_server_refused_lately_is_told_though_nothing_is_stored(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    stored(store, "X:Y", [NOW], NOW + timedelta(minutes=1))
    store.refuse("X:Y", "1m", "SymbolError: delisted", (NOW - timedelta(days=40)).timestamp())
    store.refuse("X:GONE", "1m", "SymbolError: unknown", (NOW - timedelta(days=4)).timestamp())
    store.refuse("X:NOPE", "1m", "SymbolError: unknown", (NOW - timedelta(days=2)).timestamp())
    assert [each.symbol for each in store.refused()] == ["X:GONE", "X:NOPE"]
    told = {each.series.symbol: each.to_dict()["refused"] for each in lake_status(store, NOW)}
    # What nobody asks for any more, as nothing does that has left the watchlist, is not told; what is stored is.
    assert told == {
        "X:NOPE": "refused by the server since 2026-11-16 15:00Z: SymbolError: unknown",
        "X:Y": "refused by the server since 2026-10-09 15:00Z: SymbolError: delisted",
    }
    [refused] = lake_status(store, NOW, "X:NOPE")
    assert refused.record.rows == 0 and not refused.error
