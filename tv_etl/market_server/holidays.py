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
        _last_monday_of_may(year),
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


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
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


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


KOREA = _listed(
    "20240101,20240209,20240212,20240301,20240410,20240501,20240506,20240515,20240606,20240815,20240916,20240917,"
    "20240918,20241001,20241003,20241009,20241225,20241231,20250101,20250127,20250128,20250129,20250130,20250303,"
    "20250501,20250505,20250506,20250603,20250606,20250815,20251003,20251006,20251007,20251008,20251009,20251225,"
    "20251231,20260101,20260216,20260217,20260218,20260302,20260501,20260505,20260525,20260603,20260817,20260924,"
    "20260925,20261005,20261009,20261225,20261231,20270101,20270208,20270209,20270301,20270505,20270513,20270816,"
    "20270914,20270915,20270916,20271004,20271011,20271231"
)

INDIA = _listed(
    "20240122,20240126,20240308,20240325,20240329,20240411,20240417,20240501,20240520,20240617,20240717,20240815,"
    "20241002,20241115,20241120,20241225,20250226,20250314,20250331,20250410,20250414,20250418,20250501,20250815,"
    "20250827,20251002,20251021,20251022,20251105,20251225,20260126,20260303,20260326,20260331,20260403,20260414,"
    "20260501,20260528,20260626,20260914,20261002,20261020,20261110,20261124,20261225"
)
