"""Stored bars to files: which series of a lake, how much of each, and the outcome."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from tv_etl.cli.fetch import Outcome, reason_of
from tv_etl.cli.files import Put
from tv_etl.lake.errors import BarStoreError, NoSeriesError
from tv_etl.lake.store import BarStore
from tv_etl.tradingview.intervals import Interval
from tv_etl.tradingview.series import Series


class SeriesExport:
    """The stored bars of symbols at intervals, with `start` <= open < `end`; no symbols are all, as no intervals are.

    Raises StoreReadError, and ValueError that names the options of the command line.
    """

    def __init__(
        self,
        store: BarStore,
        symbols: Sequence[str] = (),
        intervals: Sequence[Interval] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        if start is not None and end is not None and start >= end:
            raise ValueError(f"--start {start.isoformat()} is not before --end {end.isoformat()}")
        self.series: list[Series] = []
        self.missing: list[NoSeriesError] = []
        self._store = store
        self._start = start
        self._end = end
        stored: dict[str, list[Interval]] = {}
        for symbol, interval in store.series():
            stored.setdefault(symbol, []).append(interval)
        for symbol in symbols or stored:
            widths = stored.get(symbol, [])
            self.series += [Series(symbol, each) for each in intervals or widths if each in widths]
            if not widths:
                self.missing.append(NoSeriesError(symbol, store.base, meant(symbol, stored)))
            elif symbols:
                known = f"of that symbol it has {' '.join(each.token for each in widths)}"
                lacking = [Series(symbol, each) for each in intervals if each not in widths]
                self.missing += [NoSeriesError(str(each), store.base, known) for each in lacking]

    def __len__(self) -> int:
        return len(self.series)

    def run(self, put: Put) -> Iterator[Outcome]:
        """Pass the bars of each series on, and yield what became of it. Raises as `put` does."""
        for series in self.series:
            try:
                bars = self._store.read(*series, self._start, self._end)
            except BarStoreError as error:
                yield Outcome(series, error=reason_of(error))
                continue
            put(series, bars)
            yield Outcome(series, len(bars), "" if len(bars) else "the lake has no bars in the requested range")


def meant(symbol: str, stored: Iterable[str]) -> str:
    """What of the lake somebody may have meant by a symbol that is not in it, to be told."""
    wanted = symbol.upper()
    near = [each for each in stored if wanted in (each.upper(), each.upper().rpartition(":")[2])]
    return f"did you mean {' or '.join(near[:3])}?" if near else ""
