"""Cron expressions, as schedules accept them: five fields, minute to day of the week."""

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = [
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
]
_NAMED = {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_DAYS_IN_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class CronError(ValueError):
    """The text is not a cron expression; the message names it and what would be right."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r}: {reason}")


def check_cron(text: str) -> str:
    """Return the expression unchanged if a schedule can follow it. Raises CronError.

    Lists, ranges and steps as usual (`0,30 9-16 * * mon-fri`, `*/5 * * * *`), names of months and weekdays, and
    `@hourly`, `@daily` and the like.
    """
    if text.strip().lower() in _NAMED:
        return text
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise CronError(text, "expected five fields: minute hour day month weekday, e.g. 20 * * * *")
    days, months = (
        [_parse_part(text, part, *_FIELDS[number]) for part in fields[number].lower().split(",")] for number in (2, 3)
    )
    for number in (0, 1, 4):
        for part in fields[number].lower().split(","):
            _parse_part(text, part, *_FIELDS[number])
    earliest = min(min(each) for each in days)
    if fields[4] == "*" and earliest > max(_DAYS_IN_MONTH.get(month, 31) for each in months for month in each):
        raise CronError(text, f"none of these months has a day {earliest}")
    return text


def most_ticks_a_day(text: str) -> int:
    """How many ticks the expression has on a day that has most. Raises CronError."""
    check_cron(text)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return 24 if text.strip().lower() == "@hourly" else 1
    minutes, hours = (
        {tick for part in field.lower().split(",") for tick in _parse_part(text, part, *meaning)}
        for field, meaning in zip(fields[:2], _FIELDS[:2], strict=True)
    )
    return len(minutes) * len(hours)


def _parse_part(text: str, part: str, field: str, lowest: int, highest: int, names: dict[str, int]) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise CronError(text, f"{part!r} is not a valid {field}: expected e.g. *, {lowest}, {lowest}-{highest} or */2")
    first = lowest if match["all"] else _parse_number(text, match["first"], field, lowest, highest, names)
    last = first if match["first"] and not match["step"] else highest
    if match["last"]:
        last = _parse_number(text, match["last"], field, lowest, highest, names)
    if first > last:
        raise CronError(text, f"{part!r}: the {field} range ends before it begins")
    step = int(match["step"] or 1)
    if step == 0:
        raise CronError(text, f"{part!r}: a step must be at least 1")
    return range(first, last + 1, step)


def _parse_number(text: str, word: str, field: str, lowest: int, highest: int, names: dict[str, int]) -> int:
    number = names.get(word, int(word) if word.isascii() and word.isdigit() else -1)
    if not lowest <= number <= highest:
        raise CronError(text, f"{word!r} is not a valid {field}: expected {lowest} to {highest}")
    return number
