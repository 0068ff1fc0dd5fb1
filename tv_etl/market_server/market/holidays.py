"""Days on which the exchanges of the synthetic market stay closed or close early, as `YYYYMMDD` texts.

The years reach from 2000, where TradingView's own lists begin, to 2035.
"""

from datetime import date, timedelta
from functools import cache

FIRST_YEAR, LAST_YEAR = 2000, 2035

_MONDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 3, 4, 5, 6

# The New York exchanges closed for two funerals that no rule foresees.
_US_MOURNING = (date(2004, 6, 11), date(2007, 1, 2), date(2025, 1, 9))


@cache
def us_equity_holidays() -> tuple[str, ...]:
    """Full closures of the New York exchanges."""
    days = {day for year in _years() for day in _us_holidays(year) if day.weekday() < _SATURDAY}
    return _texts(days | {day for day in _US_MOURNING if day.year < 2025})


@cache
def us_equity_days_off() -> tuple[str, ...]:
    """Closures that TradingView sends as a correction instead of a holiday."""
    return _texts({day for day in _US_MOURNING if day.year >= 2025})


@cache
def us_equity_half_days() -> tuple[str, ...]:
    """Days on which the New York exchanges close at 13:00."""
    days = set()
    for year in _years():
        if year < 2019:  # where TradingView's own list begins
            continue
        days.add(_nth_weekday(year, 11, _THURSDAY, 4) + timedelta(days=1))
        days |= {day for day in (date(year, 7, 3), date(year, 12, 24)) if day.weekday() <= _THURSDAY}
    return _texts(days - {date.fromisoformat(f"{t[:4]}-{t[4:6]}-{t[6:]}") for t in us_equity_holidays()})


@cache
def us_futures_holidays() -> tuple[str, ...]:
    """Full closures of the metal and energy futures."""
    return _texts({day for year in _years() for day in (*_new_year_and_christmas(year), _good_friday(year))})


@cache
def us_futures_half_days() -> tuple[str, ...]:
    """Holidays of the New York exchanges on which the futures stop at 14:30."""
    closed = set(us_futures_holidays())
    days = {day for year in _years() for day in _us_holidays(year)[1:-1]}
    return tuple(text for text in _texts(days) if text not in closed)


@cache
def currency_holidays() -> tuple[str, ...]:
    """Days without currency trading."""
    return _texts({day for year in _years() for day in _new_year_and_christmas(year)})


@cache
def euronext_holidays() -> tuple[str, ...]:
    """Full closures of the exchanges of Euronext."""
    return _texts({day for year in _years() for day in _european_holidays(year)})


@cache
def euronext_half_days() -> tuple[str, ...]:
    """Days on which Euronext and London close after lunch."""
    eves = {date(year, 12, day) for year in _years() for day in (24, 31)}
    return _texts({day for day in eves if day.weekday() < _SATURDAY})


@cache
def xetra_holidays() -> tuple[str, ...]:
    """Full closures of Xetra: Euronext's, and the eves that are half days there."""
    return tuple(sorted({*euronext_holidays(), *euronext_half_days()}))


@cache
def london_holidays() -> tuple[str, ...]:
    """Full closures of London: the bank holidays of England."""
    days = set()
    for year in _years():
        easter = _good_friday(year) + timedelta(days=2)
        days |= {easter - timedelta(days=2), easter + timedelta(days=1), _made_up(date(year, 1, 1))}
        days |= {_nth_weekday(year, 5, _MONDAY, 1), _last_monday(year, 5), _last_monday(year, 8)}
        christmas = date(year, 12, 25)
        # Two days off whatever weekdays they fall on.
        days |= {_made_up(christmas), _made_up(date(year, 12, 26), taken=_made_up(christmas))}
    moved = {date(2020, 5, 4): date(2020, 5, 8), date(2022, 5, 30): date(2022, 6, 2)}
    extra = {date(2022, 6, 3), date(2022, 9, 19), date(2023, 5, 8)}  # a jubilee, a funeral, a coronation
    return _texts({moved.get(day, day) for day in days} | extra)


@cache
def brazil_holidays() -> tuple[str, ...]:
    """Full closures of B3."""
    days = set()
    for year in _years():
        easter = _good_friday(year) + timedelta(days=2)
        days |= {easter - timedelta(days=back) for back in (48, 47, 2)} | {easter + timedelta(days=60)}
        fixed = [(1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (12, 24), (12, 25), (12, 31)]
        days |= {date(year, month, day) for month, day in [*fixed, *([(11, 20)] if year >= 2024 else [])]}
    return _texts({day for day in days if day.weekday() < _SATURDAY})


def _european_holidays(year: int) -> list[date]:
    easter = _good_friday(year) + timedelta(days=2)
    fixed = [date(year, 1, 1), date(year, 5, 1), date(year, 12, 25), date(year, 12, 26)]
    days = [easter - timedelta(days=2), easter + timedelta(days=1), *fixed]
    return [day for day in days if day.weekday() < _SATURDAY]


def _made_up(day: date, taken: date | None = None) -> date:
    """The next weekday where a holiday falls on a weekend or on one already taken."""
    while day.weekday() >= _SATURDAY or (taken is not None and day <= taken):
        day += timedelta(days=1)
    return day


def _years() -> range:
    return range(FIRST_YEAR, LAST_YEAR + 1)


def _texts(days: set[date]) -> tuple[str, ...]:
    return tuple(day.strftime("%Y%m%d") for day in sorted(days))


def _us_holidays(year: int) -> list[date]:
    """In calendar order: New Year first, Christmas last."""
    new_year = date(year, 1, 1)
    if new_year.weekday() == _SUNDAY:  # on a Saturday it is not made up for: the books of the year must close
        new_year = date(year, 1, 2)
    return [
        new_year,
        _nth_weekday(year, 1, _MONDAY, 3),
        _nth_weekday(year, 2, _MONDAY, 3),
        _good_friday(year),
        _last_monday(year, 5),
        *([_observed(date(year, 6, 19))] if year >= 2022 else []),
        _observed(date(year, 7, 4)),
        _nth_weekday(year, 9, _MONDAY, 1),
        _nth_weekday(year, 11, _THURSDAY, 4),
        _observed(date(year, 12, 25)),
    ]


def _new_year_and_christmas(year: int) -> list[date]:
    return [day for day in (date(year, 1, 1), date(year, 12, 25)) if day.weekday() < _SATURDAY]


def _observed(day: date) -> date:
    return day + timedelta(days={_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0))


def _nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_monday(year: int, month: int) -> date:
    last = date(year, month, 31)
    return last - timedelta(days=last.weekday())


def _good_friday(year: int) -> date:
    # Easter by the anonymous Gregorian algorithm (Meeus, Astronomical Algorithms, ch. 8).
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1) - timedelta(days=2)
