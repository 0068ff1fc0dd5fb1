"""Which series of a lake are to be removed, and how they are shown before that."""

from tv_etl.cli.export import meant
from tv_etl.lake.errors import BarStoreError, NoSeriesError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series


def chosen(store: BarStore, symbol: str, interval: Interval | None) -> list[Series]:
    """The series of a symbol, or the one of an interval. Raises NoSeriesError for none, and as `BarStore.read` does."""
    stored = store.removable(symbol)
    wanted = [each for each in stored if interval in (None, each.interval)]
    if not wanted:
        others = dict.fromkeys(each.symbol for each in store.series())
        widths = " ".join(each.interval.token for each in stored)
        known = f"of that symbol it has {widths}" if stored else meant(symbol, others)
        name = symbol if interval is None else str(Series(symbol, interval))
        raise NoSeriesError(name, store.base, known)
    return wanted


def described(store: BarStore, series: Series) -> str:
    """The extent of a series for whoever is to decide; of a damaged one that it is."""
    try:
        found = store.summary(*series)
    except BarStoreError as error:
        return f"{series}: {error}"
    if found.first is None or found.last is None:
        return f"{series}: what a removal left that was cut short"
    return f"{series}: {found.rows:,} bars, {found.first:%Y-%m-%d %H:%M}Z to {found.last:%Y-%m-%d %H:%M}Z"
