"""What an alert rule would have told of the bars of a year: run year_into_lake.py first."""

from datetime import datetime, timezone

from tv_etl.alerts.replay import replay
from tv_etl.alerts.rules import CrossUpRule
from tv_etl.alerts.stored_history import StoredHistory
from tv_etl.lake import BarStore

start, end = datetime(2025, 3, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, tzinfo=timezone.utc)
rule = CrossUpRule(name="breakout", symbol="NASDAQ:AAPL", kind="cross_up", level="high(20)", interval="1d", on="close")
history = StoredHistory(BarStore("lake"), start, end)
replayed = replay([rule], history, int(start.timestamp()), int(end.timestamp()))
for alert in replayed.alerts:
    at = datetime.fromtimestamp(alert.touched_at or 0, timezone.utc)
    print(f"{at:%Y-%m-%d %H:%M} {alert.symbol} at {alert.price}, above {alert.level}")
print(f"{len(replayed.alerts)} alerts", *replayed.notes)
