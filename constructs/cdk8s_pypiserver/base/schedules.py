"""When something is done: times as cron writes them."""

import re
from collections.abc import Sequence
from typing import Annotated

from .fields import Form

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# As Kubernetes reads them (github.com/robfig/cron v3, parser.go); there 7 is no Sunday.
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NAMED = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_PART = r"[A-Za-z0-9*?,/-]+"


def _no_schedule(value: str) -> str | None:
    if value.startswith("@"):
        return None if value in _NAMED else f"must be one of {', '.join(_NAMED)}, or five fields"
    parts = value.split()
    if len(parts) != len(_FIELDS) or "=" in value:
        return None
    counted = []
    for part, (what, least, most, names) in zip(parts, _FIELDS, strict=True):
        numbers: set[int] = set()
        for each in part.split(","):
            found = _numbers(each, least, most, names)
            if found is None:
                first, last = (names[0], names[-1]) if names else (least, most)
                between = f"{least} to {most}" + (f" or {first} to {last}" if names else "")
                meant = f"it is one of {between}, *, a range or a step"
                return f"has {'an' if what == 'hour' else 'a'} {what} that there is not ({each}): {meant}"
            numbers |= found
        counted.append(numbers)
    _, _, days, months, _ = counted
    if parts[4] in ("*", "?") and all(min(days) > _LONGEST_MONTHS[month - 1] for month in months):
        return "never comes: no month that it names has that day"
    return None


def _numbers(text: str, least: int, most: int, names: Sequence[str]) -> set[int] | None:
    """Return what a part of a field means, None if it means nothing."""
    span, slash, step = text.partition("/")
    if slash and not re.fullmatch("[1-9][0-9]{0,3}", step):
        return None
    first, dash, last = span.partition("-")
    if span in ("*", "?"):
        low, high = least, most
    else:
        read = [_number(each, least, names) for each in ((first, last) if dash else (first,))]
        if any(each is None for each in read):
            return None
        low = read[0] or 0
        high = (read[1] or 0) if dash else most if slash else low
    if not least <= low <= high <= most:
        return None
    return set(range(low, high + 1, int(step or 1)))


def _number(text: str, least: int, names: Sequence[str]) -> int | None:
    if text.lower() in names:
        return [*names].index(text.lower()) + least
    return int(text) if re.fullmatch("[0-9]{1,3}", text, re.ASCII) else None


def _no_time_zone(value: str) -> str | None:
    return "must say which one: the API server refuses Local" if value.lower() == "local" else None


Schedule = Annotated[
    str,
    Form(
        rf"@[a-z]+|{_PART}(?: +{_PART}){{4}}",
        "must be five fields as cron has them (minute, hour, day of the month, month, day of the week), such as "
        "30 3 * * *, or @daily",
        100,
        _no_schedule,
    ),
]
"""When something is done, as a CronJob has it."""

TimeZone = Annotated[
    str,
    Form(
        r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}",
        "must be the name of a time zone such as Europe/Vienna or Etc/UTC",
        60,
        _no_time_zone,
    ),
]
"""Time zone that a schedule is meant in."""
