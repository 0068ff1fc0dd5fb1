"""The alerts as a dataset of the lake: a Parquet file for each day (UTC) on which they were found, a row for each.

    <lake>/alerts/date=2026-11-28/alerts.parquet

An event is written again when a delivery of it goes on; its `event_id` is in the dataset once. Whoever runs a tick is
the only writer, so no two write a day at the same time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from tv_etl.alerts.stored_events import StoredEvent, moment_of
from tv_etl.lake.errors import DamagedFileError
from tv_etl.lake.sealed import encode_sealed, open_sealed
from tv_etl.lake.storage.loose import LooseFiles
from tv_etl.tradingview.columns import no_rows

FOLDER: Final = "alerts"

_MOMENT = pa.timestamp("us", tz="UTC")
_DELIVERY = pa.struct(
    [
        pa.field("target", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("at", _MOMENT),
        pa.field("error", pa.string()),
    ]
)
# `touched_at` is the time of the trade, or the open of its minute; `detected_at` when a tick found it; `delivered_at`
# when the first target had it; `acked_at` when somebody acknowledged it. A delivery is pending, delivered or dead. What
# is muted was told nobody.
ALERT_SCHEMA: Final = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("symbol", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("level", pa.float64()),
        pa.field("price", pa.float64()),
        pa.field("touched_at", _MOMENT),
        pa.field("detected_at", _MOMENT, nullable=False),
        pa.field("delivered_at", _MOMENT),
        pa.field("acked_at", _MOMENT),
        pa.field("severity", pa.string()),
        pa.field("status", pa.string()),
        pa.field("incident", pa.string()),
        pa.field("is_muted", pa.bool_(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("groups", pa.list_(pa.string()), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("message", pa.string()),
        pa.field("deliveries", pa.list_(_DELIVERY), nullable=False),
    ]
)


class AlertDataset:
    """The alerts in a lake (a directory or an address). Raises ValueError for an address that is none."""

    def __init__(self, base: str | Path) -> None:
        self._files = LooseFiles(base, FOLDER)

    @property
    def uri(self) -> str:
        """Where it is, for other readers."""
        return self._files.uri()

    def put(self, events: Sequence[StoredEvent]) -> list[str]:
        """Write events, each in the place of what there is of it, and return the days whose files changed.

        Raises DamagedFileError for a file of a day that cannot be read, and as `LooseFiles` does.
        """
        by_day: dict[str, dict[str, StoredEvent]] = {}
        for event in events:
            by_day.setdefault(_day(event.detected_at), {})[event.event_id] = event
        for day, found in sorted(by_day.items()):
            known = [row for row in self._rows(day) if row["event_id"] not in found]
            rows = sorted([*known, *map(_row, found.values())], key=lambda row: (row["detected_at"], row["event_id"]))
            self._files.write(_name(day), encode_sealed(pa.Table.from_pylist(rows, ALERT_SCHEMA), compression="zstd"))
        return sorted(by_day)

    def read(self, day: str | None = None) -> pa.Table:
        """The alerts of a day such as 2026-11-28, or all, in ALERT_SCHEMA. Raises as `put`."""
        days = self.days() if day is None else [day]
        return pa.concat_tables([no_rows(ALERT_SCHEMA), *(self._table(each) for each in days)])

    def days(self) -> list[str]:
        """The days of which there are alerts, sorted."""
        names = (name.partition("/")[0] for name in self._files.names() if name.endswith("/alerts.parquet"))
        return sorted(name.removeprefix("date=") for name in names if name.startswith("date="))

    def _rows(self, day: str) -> list[dict[str, Any]]:
        return list(self._table(day).to_pylist())

    def _table(self, day: str) -> pa.Table:
        name = _name(day)
        content = self._files.read(name)
        if content is None:
            return no_rows(ALERT_SCHEMA)
        with open_sealed(content, self._files.uri(name)) as file:
            table = file.read(use_threads=False).replace_schema_metadata(None)
        if "acked_at" not in table.column_names and "severity" in table.column_names:
            # Written before alerts could be acknowledged.
            place = table.column_names.index("severity")
            table = table.add_column(place, ALERT_SCHEMA.field("acked_at"), pa.nulls(table.num_rows, _MOMENT))
        if not table.schema.equals(ALERT_SCHEMA):
            raise DamagedFileError(self._files.uri(name), f"its columns are {table.schema.names}")
        return table


def _name(day: str) -> str:
    return f"date={day}/alerts.parquet"


def _day(second: float) -> str:
    return f"{datetime.fromtimestamp(second, timezone.utc):%Y-%m-%d}"


def _row(event: StoredEvent) -> dict[str, Any]:
    body = event.body
    return {
        "event_id": event.event_id,
        "rule": _storable(body["rule"]),
        "symbol": _text(body, "symbol"),
        "kind": _text(body, "kind"),
        "level": _number(body, "level"),
        "price": _number(body, "price"),
        "touched_at": moment_of(body.get("touched_at")),
        "detected_at": datetime.fromtimestamp(event.detected_at, timezone.utc),
        "delivered_at": moment_of(event.delivered_at),
        "acked_at": moment_of(event.acked_at),
        "severity": _text(body, "severity"),
        "status": _text(body, "status"),
        "incident": _text(body, "incident"),
        "is_muted": body.get("is_muted") is True,
        "tags": [_storable(str(each)) for each in body.get("tags") or ()],
        "groups": [_storable(str(each)) for each in body.get("groups") or ()],
        "text": _storable(body["text"]),
        "message": _text(body, "message"),
        "deliveries": [
            {"target": each.target, "state": each.state, "at": moment_of(each.at), "error": each.error}
            for each in event.deliveries
        ],
    }


def _text(body: Mapping[str, Any], name: str) -> str | None:
    found = body.get(name)
    return _storable(found) if isinstance(found, str) and found else None


def _storable(text: str) -> str:
    """Without half characters, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _number(body: Mapping[str, Any], name: str) -> float | None:
    found = body.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
