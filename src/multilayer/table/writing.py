"""How a column of text writes its numbers: with a unit, with separators, with signs of its own."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_CURRENCIES = "$€£¥₹₩₽₺₪฿₫₴₦"
_CODES = "USD|EUR|GBP|JPY|CNY|INR|CHF|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|BRL|MXN|ZAR|KRW|RUB|TRY|Rs"
_MINUSES, _BLANKS = "\u2212\u2010\u2011\u2012\u2013\ufe63", "\u00a0\u202f\u2009"
_ALIKE = str.maketrans(dict.fromkeys(_MINUSES, "-") | dict.fromkeys(_BLANKS, " "))
_THOUSANDS = (",", ".", " ", "'", "’")
_BODY = r"\d[\d.,'’ ]*(?:[eE][+-]?\d+)?|[.,]\d+(?:[eE][+-]?\d+)?"
_UNIT_BEFORE = rf"(?:US|A|C|HK|NZ|R)?[{_CURRENCIES}]|(?:{_CODES})\.?(?=[\s\d+-])"
_POWERS = r"(?:[^\W\d_°][^\s\d,;:()]{0,9}/)?(?:(?:[mcdk]?m|in|ft|yd|mi)[23]|(?<=/)s2)"  # m2, kg/m3, m/s2
_UNIT_BEHIND = rf"[{_CURRENCIES}%‰]|°[CF]?|{_POWERS}|[^\W\d_°][^\s\d,;:()]{{0,11}}(?: [^\W\d_]{{1,8}})?[²³]?"
_MULTIPLES = frozenset(
    ("k", "K", "m", "M", "b", "B", "bn", "Bn", "mn", "Mn", "T", "million", "thousand", "Mio", "Mrd")
)
_MONTHS = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
_NO_UNIT = re.compile(rf"(st|nd|rd|th|({_MONTHS})[a-z]*)\.?", re.IGNORECASE)
_SHAPE = re.compile(
    rf"(?P<open>\()?(?P<sign>[+-]?)\s?(?P<before>{_UNIT_BEFORE})?\s?(?P<sign2>[+-]?)(?P<body>{_BODY})\s?"
    rf"(?P<behind>{_UNIT_BEHIND})?(?P<close>\))?"
)
_OF_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+", re.ASCII)
_BELOW_1000 = re.compile(r"[+-]?\d{1,3}(,\d+)?", re.ASCII)
_PLAIN = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Writing:
    """What stands in the numbers of a column, beside digits and a point.

    unit:      before or behind each: "%", "kg", "$"; empty where there is none
    thousands: what separates thousands; empty where nothing does
    decimal:   the decimal sign

    >>> Writing("$", ",").read("$1,234.50"), Writing("kg").read("3 kg"), Writing("kg").read("3 lb")
    (1234.5, 3.0, None)
    >>> Writing().read("(12)"), Writing().read("\u221212")
    (-12.0, -12.0)
    """

    unit: str = ""
    thousands: str = ""
    decimal: str = "."

    def read(self, text: str) -> float | None:
        """The number that a text is, with its unit or without; None for what is no number."""
        found = _parts(text)
        if found is None or found.unit not in ("", self.unit):
            return None
        if self.unit in _MULTIPLES and not found.unit:  # of 3k, 3 is a thousandth
            return None
        number = _plain(found.body, self.thousands, self.decimal)
        return None if number is None else -float(number) if found.is_negative else float(number)

    @property
    def in_words(self) -> str:
        """What it is, for people; empty where numbers are written as everywhere."""
        words = [f"in {self.unit}"] if self.unit else []
        if self.thousands:
            words.append(f"thousands are separated by {self.thousands!r}")
        if self.decimal != ".":
            words.append(f"the decimal sign is {self.decimal!r}")
        return ", ".join(words)


@dataclass(frozen=True)
class _Parts:
    unit: str
    body: str
    is_negative: bool


def find_writing(texts: Sequence[str]) -> Writing | None:
    """How most of these texts write numbers; None where most are none, or no one way is common.

    >>> find_writing(["1,200 kg", "3 kg"]), find_writing(["2,5", "3,75"]), find_writing(["3 kg", "3 lb"])
    (Writing(unit='kg', thousands=',', decimal='.'), Writing(unit='', thousands='', decimal=','), None)
    """
    parts = [part for part in map(_parts, texts) if part is not None]
    if 2 * len(parts) <= len(texts):
        return None
    units = Counter(part.unit for part in parts)
    unit = next((unit for unit, count in units.most_common() if unit and 2 * count >= len(parts)), "")
    if unit and units[unit] + units[""] < 0.9 * len(parts):
        return None
    if unit in _MULTIPLES and units[""]:  # 3k beside 3 is 3,000
        return None
    bodies = [part.body for part in parts if part.unit in ("", unit)]
    ways = [Writing(unit, thousands, decimal) for thousands, decimal in _separators(bodies)]
    reads = [sum(_plain(body, way.thousands, way.decimal) is not None for body in bodies) for way in ways]
    best = max(reads, default=0)
    return ways[reads.index(best)] if 2 * best > len(texts) else None


def _separators(bodies: Sequence[str]) -> list[tuple[str, str]]:
    """Ways of separating that may be meant, likelier ones first.

    One point is a decimal sign, unless a number has two, or a comma behind, or `have_points_of_thousands`.
    """
    signs = [sign for sign in _THOUSANDS if any(sign in body for body in bodies)]
    ways = [(".", ",")] if have_points_of_thousands(bodies) else []
    ways += [("", ".")]
    for sign in signs:
        if sign != "." or any(body.count(".") > 1 or re.search(r"\.\d{3},", body) for body in bodies):
            ways += [(sign, "." if sign != "." else ",")]
        if sign not in ".,":
            ways += [(sign, ",")]
    return [*ways, *([("", ",")] if "," in signs else [])]


def have_points_of_thousands(numbers: Sequence[str]) -> bool:
    """Whether the points in these numbers can only stand between thousands: 900, 1.100, 2.350.

    Three digits stand behind every point, some end in 0, which no program writes of a fraction unless it
    writes all numbers with three decimals; and some numbers have no point: these are below 1,000.

    >>> have_points_of_thousands(["900", "1.100"]), have_points_of_thousands(["0.900", "1.100"])
    (True, False)
    >>> have_points_of_thousands(["2", "1.125"]), have_points_of_thousands(["1200", "1.100"])
    (False, False)
    """
    pointed = [number.strip() for number in numbers if "." in number]
    if not any(number.endswith("0") for number in pointed) or len(pointed) == len(numbers):
        return False
    return all(map(_OF_POINTS.fullmatch, pointed)) and all(
        _BELOW_1000.fullmatch(number.strip()) for number in numbers if "." not in number
    )


def _parts(text: str) -> _Parts | None:
    found = _SHAPE.fullmatch(text.strip().translate(_ALIKE))
    if found is None or (found["open"] is None) != (found["close"] is None):
        return None
    if found["behind"] and _is_code(found.string[found.end("body") - 1 : found.end("behind")]):
        return None
    units = [unit for unit in (found["before"], found["behind"]) if unit]
    if len(units) > 1 or (found["sign"] and found["sign2"]):
        return None
    sign = found["sign"] or found["sign2"]
    if found["open"] and sign:
        return None
    return _Parts("".join(units), found["body"].strip(), sign == "-" or bool(found["open"]))


def _is_code(end: str) -> bool:
    """Whether a last digit and what follows it are no number with a unit: 12A, 5th, 12 May."""
    glued = not end[1].isspace()
    return (glued and len(end) == 2 and end[1].isupper()) or bool(_NO_UNIT.fullmatch(end[1:].strip()))


def _plain(body: str, thousands: str, decimal: str) -> str | None:
    """1.234,5 as 1234.5; None for what is not written so. 0123 is a code."""
    if thousands and thousands in body:
        whole, sign, rest = body.partition(decimal)
        first, *groups = whole.split(thousands)
        if not re.fullmatch(r"[1-9]\d{0,2}", first) or not all(re.fullmatch(r"\d{3}", g) for g in groups):
            return None
        body = first + "".join(groups) + sign + rest
    if decimal != ".":
        if "." in body:
            return None
        body = body.replace(decimal, ".")
    if not _PLAIN.fullmatch(body) or re.match(r"0\d", body):
        return None
    return body
