"""Dates, times of day and durations: from text, between time zones, and in cyclic parts."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError

Dates = NDArray[Any]  # datetime64[us]; beartype does not take NDArray[Any] for a dtype with a unit
Floats = NDArray[np.float64]

ISO = "ISO 8601"  # stands in date_format beside the strptime patterns below
COMPACT = "%Y%m%d"  # of dates written as whole numbers
_DIGITS = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%Y.%m.%d",
    "%d.%m.%y",
)
_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_WITHOUT_DAYS = ("%Y-%m", "%b %Y", "%B %Y", "%b-%Y")  # Jan-20 could be a day or a year
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
_OFFSET_CLOCKS = (" %H:%M %z", " %H:%M:%S %z", " %H:%M%z", " %H:%M:%S%z")
_PATTERNS = _DIGITS + _MONTHS
DATE_FORMATS = (
    ISO,
    *(day + clock for clocks in (_CLOCKS, _OFFSET_CLOCKS) for day in _PATTERNS for clock in clocks),
    *_WITHOUT_DAYS,
)  # of two that fit, the first is taken

_ISO_SHAPE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d.*)?|\d{8}T\d{2,6}(Z|[+-]\d.*)?")
_TIME_SHAPE = re.compile(
    r"(?P<h>\d{1,2}):(?P<m>[0-5]\d)(:(?P<s>[0-5]\d(\.\d{1,9})?))?( ?(?P<half>[ap])\.?m\.?)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = r"(?P<h>\d+):(?P<m>[0-5]\d)(:(?P<s>[0-5]\d(\.\d{1,9})?))?"
_DAYS_SHAPE = re.compile(
    rf"(?P<sign>-?)(?P<d>\d+) days?(,? (?P<back>[+-]?){_CLOCK})?", re.ASCII | re.IGNORECASE
)
_CLOCK_SHAPE = re.compile(rf"(?P<sign>[+-]?){_CLOCK}", re.ASCII)
_NUMBER = r"\d+(\.\d+)?"
_PERIOD_SHAPE = re.compile(
    rf"(?P<sign>-?)P(?=[\dT])((?P<w>{_NUMBER})W)?((?P<d>{_NUMBER})D)?"
    rf"(T(?=\d)((?P<h>{_NUMBER})H)?((?P<m>{_NUMBER})M)?((?P<s>{_NUMBER})S)?)?",
    re.ASCII,
)
_OFFSET_SHAPE = re.compile(r"(UTC|GMT)?(?P<sign>[+-])(?P<h>\d\d):?(?P<m>\d\d)?", re.ASCII)
_SIZES_S = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MICROSECONDS_A_DAY = 86_400_000_000
_QUARTER_S = 900  # zones change their clocks at whole quarters of an hour, in UTC


def date_format(texts: Sequence[str]) -> str | None:
    """The first of DATE_FORMATS that reads every text, or None.

    >>> date_format(["1/31/2024", "12/1/2024"]), date_format(["2024"])
    ('%m/%d/%Y', None)
    """
    if not texts or not any(map(str.isdigit, texts[0])):
        return None
    for candidate in DATE_FORMATS:
        if all(moment is not None for moment in map(date_parser(candidate), texts)):
            return candidate
    return None


def other_format(texts: Sequence[str], found: str) -> str | None:
    """The format in which day and month change places, if every text could as well be in that.

    >>> other_format(["1/2/2024", "3/4/2024"], "%m/%d/%Y"), other_format(["1/31/2024"], "%m/%d/%Y")
    ('%d/%m/%Y', None)
    """
    other = found.replace("%m", "%_").replace("%d", "%m").replace("%_", "%d")
    if other == found or other not in DATE_FORMATS or "%d" not in found:
        return None
    ours, theirs = date_parser(found), date_parser(other)
    if any(theirs(text) is None for text in texts):
        return None
    return other if any(ours(text) != theirs(text) for text in texts) else None


def date_parser(*formats: str, local: bool = False) -> Callable[[str], datetime | None]:
    """A function that reads a text in the first of these formats that fits, or gives None.

    local: what clock and calendar of the text say, whatever its offset, instead of UTC

    >>> date_parser(ISO)("2024-05-01T08:00+02:00"), date_parser(ISO, local=True)("2024-05-01T08:00+02:00")
    (datetime.datetime(2024, 5, 1, 6, 0), datetime.datetime(2024, 5, 1, 8, 0))
    """

    def parse(text: str) -> datetime | None:
        for candidate in formats:
            moment = _moment(text, candidate)
            if moment is not None:
                return _naive(moment, local)
        return None

    return parse


def has_offset(text: str, *formats: str) -> bool:
    """Whether a date text names its distance from UTC.

    >>> has_offset("2024-05-01T08:00+02:00", ISO), has_offset("2024-05-01", ISO)
    (True, False)
    """
    moments = (_moment(text, candidate) for candidate in formats)
    first = next((moment for moment in moments if moment is not None), None)
    return first is not None and first.tzinfo is not None


def _moment(text: str, date_format: str) -> datetime | None:
    """The date as it is written, with its offset if it has one."""
    text = text.strip()
    if date_format == ISO:
        if text.endswith(("UTC", "GMT")):
            text = f"{text[:-3].rstrip()}+00:00"
        return _checked(datetime.fromisoformat, text) if _ISO_SHAPE.fullmatch(text) else None
    if date_format == COMPACT and len(text) != 8:  # strptime would read 1234 as the year 1234
        return None
    return _checked(lambda each: datetime.strptime(each, date_format), text)


def _checked(parse: Callable[[str], datetime], text: str) -> datetime | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _naive(moment: datetime, local: bool) -> datetime | None:
    if moment.tzinfo is None or local:
        return moment.replace(tzinfo=None)
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:  # before the year 1, or after 9999
        return None


def parse_time(text: str) -> float | None:
    """Seconds since midnight of a text like 8:15, 08:15:30.5 or 8:15 PM; None for what is no time of day.

    >>> parse_time("08:15"), parse_time("8:15 pm"), parse_time("25:00")
    (29700.0, 72900.0, None)
    """
    found = _TIME_SHAPE.fullmatch(text.strip())
    if not found:
        return None
    hours = int(found["h"])
    if found["half"]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if found["half"].lower() == "p" else 0)
    return None if hours > 23 else hours * 3_600 + int(found["m"]) * 60 + float(found["s"] or 0)


def parse_duration(text: str) -> float | None:
    """Seconds of a text like "1 days 02:03:04", "26:10:00" or "P1DT2H"; None for what is no duration.

    >>> parse_duration("1 days 02:00:00"), parse_duration("PT90M"), parse_duration("-0:30")
    (93600.0, 5400.0, -1800.0)
    """
    text = text.strip()
    for shape in (_DAYS_SHAPE, _PERIOD_SHAPE, _CLOCK_SHAPE):
        found = shape.fullmatch(text)
        if found:
            groups = found.groupdict()
            sizes = {unit: float(groups.get(unit) or 0) * size for unit, size in _SIZES_S.items()}
            sign = -1.0 if groups["sign"] == "-" else 1.0
            if shape is _DAYS_SHAPE:  # "-1 day, 23:00:00" is 23 hours more than minus a day
                back = -1.0 if groups["back"] == "-" else 1.0
                return sign * sizes["d"] + back * (sizes["h"] + sizes["m"] + sizes["s"])
            return sign * sum(sizes.values())
    return None


def time_zone(name: str) -> tzinfo:
    """The zone of an IANA name or an offset such as "+02:00" or "UTC-3".

    Raises:
        ConfigError: there is no such zone, or this machine has no data of zones.

    >>> time_zone("+02:00").utcoffset(None)
    datetime.timedelta(seconds=7200)
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    found = _OFFSET_SHAPE.fullmatch(name)
    if found:
        minutes = int(found["h"]) * 60 + int(found["m"] or 0)
        return timezone(timedelta(minutes=-minutes if found["sign"] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"A time zone must be an IANA name such as 'Europe/Oslo', or an offset such as '+02:00'; got "
            f"{name!r}. Where names are not known (Windows), install them: pip install tzdata"
        ) from None


def in_zone(dates: Dates, zone: str) -> Dates:
    """What clocks of the zone show at these moments (UTC), datetime64[us].

    >>> in_zone(np.array(["2024-07-01T12:00"], dtype="datetime64[us]"), "Europe/Oslo")[0].item().hour
    14
    """
    of = time_zone(zone)
    local = dates.copy()
    present = ~np.isnat(dates)
    seconds = dates[present].astype(np.int64) // 1_000_000
    quarters, place = np.unique(seconds // _QUARTER_S, return_inverse=True)
    offsets = np.array([_offset_s(of, int(quarter) * _QUARTER_S) for quarter in quarters], dtype=np.int64)
    if len(offsets):
        local[present] += (offsets[place] * 1_000_000).astype("timedelta64[us]")
    return local


def _offset_s(zone: tzinfo, second: int) -> int:
    """Seconds from UTC to the zone's clock; of years that Python does not know, that of the nearest."""
    within = min(max(second, -62_135_510_400), 253_402_214_400)  # a day inside of the years 1 and 9999
    offset = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=within)).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def days(dates: Dates) -> Floats:
    """Dates as days since 1970-01-01, with the time of day as a fraction; NaN where NaT."""
    numbers = dates.astype(np.int64) / _MICROSECONDS_A_DAY
    numbers[np.isnat(dates)] = np.nan
    return numbers


def _month(dates: Dates) -> NDArray[Any]:
    return dates.astype("datetime64[M]").astype(np.int64) % 12


def _monthday(dates: Dates) -> NDArray[Any]:
    return (dates.astype("datetime64[D]") - dates.astype("datetime64[M]")).astype(np.int64)


def _yearday(dates: Dates) -> NDArray[Any]:
    return (dates.astype("datetime64[D]") - dates.astype("datetime64[Y]")).astype(np.int64)


def _weekday(dates: Dates) -> NDArray[Any]:
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _hour(dates: Dates) -> NDArray[Any]:
    return (dates - dates.astype("datetime64[D]")) / np.timedelta64(1, "h")


# name -> (the part of a date, its period in the same unit)
DATE_PARTS: dict[str, tuple[Callable[[Dates], NDArray[Any]], int]] = {
    "month": (_month, 12),
    "monthday": (_monthday, 31),
    "yearday": (_yearday, 366),
    "weekday": (_weekday, 7),
    "hour": (_hour, 24),
}
