"""What became of a series that a command was to bring somewhere."""

from dataclasses import dataclass

from tv_etl.lake.errors import BarStoreError
from tv_etl.tradingview.errors import TradingViewError
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series


@dataclass(frozen=True)
class Outcome:
    """The result for one series: the number of bars, or why there are none in `error`; `note` says what is missing."""

    series: Series
    bars: int = 0
    note: str = ""
    error: str = ""


def reason_of(error: Exception) -> str:
    """An error in a line, with its type where nobody expected it."""
    is_expected = isinstance(error, BarStoreError | TradingViewError)
    return str(error) if is_expected else f"unexpected {type(error).__name__}: {printable(str(error))}"
