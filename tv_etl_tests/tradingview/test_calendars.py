"""An independent calendar knows the same minutes: other people's holidays against the server's own."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.trading_hours import TradingHours

# Each holds the server's description of a symbol and the opens of the bars it served for it.
RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "recordings" / "symbol_hours.json").read_text(encoding="utf-8")
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# Minutes that the server promises and exchange_calendars does not. It sent no half day for New York in 2020; Bombay's
# calendar lacks the budget Saturdays, the drills and the Diwali evenings of the National Stock Exchange, and the longer
# day after the outage of February 2021.
EXTRA_MINUTES = {
    ("BATS:AAPL", "XNYS", "2020-01-01", "2026-12-31"): {"2020-11-27": 180, "2020-12-24": 180},
    ("NSE:JUNIPER", "XBOM", "2020-01-01", "2025-12-17"): {
        "2020-02-01": 375,
        "2020-11-14": 105,
        "2021-02-24": 90,
        "2021-11-04": 105,
        "2022-10-24": 90,
        "2023-11-12": 90,
        "2024-01-20": 375,
        "2024-03-02": 375,
        "2024-05-18": 375,
        "2024-11-01": 60,
        "2025-02-01": 375,
        "2025-10-21": 60,
    },
}


# exchange_calendars knows them with pandas 2, which Python 3.10 has, and loses them with pandas 3.
LOST_WITH_PANDAS_3 = {"2024-01-20", "2025-02-01"}


@pytest.mark.filterwarnings("ignore")  # of pandas, which is newer than it
@pytest.mark.parametrize(("compared", "extra"), EXTRA_MINUTES.items(), ids=["NYSE", "NSE"])
def test_an_independent_calendar_knows_the_same_minutes(
    compared: tuple[str, str, str, str], extra: dict[str, int]
) -> None:
    symbol, exchange, first, last = compared
    calendar = exchange_calendars.get_calendar(exchange, start=first, end=last)
    theirs = calendar.minutes.as_unit("s").asi8
    info = next(item["symbol_resolved"] for item in RECORDED if item["symbol_resolved"]["full_name"] == symbol)
    end = utc(last) + timedelta(days=1)
    ours = TradingHours.of_symbol(info).expected(Interval.parse("1m"), utc(first), end)
    assert theirs.size > 500_000
    assert np.setdiff1d(theirs, ours).size == 0
    days, minutes = np.unique(np.setdiff1d(ours, theirs).astype("datetime64[s]").astype("M8[D]"), return_counts=True)
    found = dict(zip(days.astype(str).tolist(), minutes.tolist(), strict=True))
    lost = LOST_WITH_PANDAS_3 if int(pd.__version__.partition(".")[0]) >= 3 else set()
    assert found == {day: count for day, count in extra.items() if day in lost or day not in LOST_WITH_PANDAS_3}
