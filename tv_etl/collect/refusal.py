"""What the server will not give, whoever asks again: an unknown symbol or interval, or what the account may not have.

It goes on record with the series: whoever plans what to ask for then leaves it out, but for once a day.
"""

from tv_etl.lake.errors import BarStoreError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.errors import EntitlementError, IntervalError, SymbolError
from tv_etl.tradingview.printable import printable
from tv_etl.tradingview.series import Series

_FINAL = (SymbolError, IntervalError, EntitlementError)
_MAX_REASON = 1_000


def record_refusal(store: BarStore, series: Series, error: Exception, at: float) -> bool:
    """Put a failure on record at a moment (UTC seconds), if it is a refusal that nobody's asking again will change.

    True if it is on record then.
    """
    if not isinstance(error, _FINAL):
        return False
    try:
        store.refuse(*series, f"{type(error).__name__}: {printable(str(error), _MAX_REASON)}", at)
    except BarStoreError:  # what is stored cannot be read or written: the series is asked for again, and fails again
        return False
    return True
