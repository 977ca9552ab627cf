"""What the words of the command line mean: lists, pairs and numbers in an option's text."""

import csv
from collections.abc import Sequence
from typing import Any

from multilayer.errors import ConfigError


def names_of(lists: Sequence[str]) -> list[str]:
    """Column names from comma lists; a name that holds a comma stands in double quotes.

    >>> names_of(['id,name', '"city, state"'])
    ['id', 'name', 'city, state']
    """
    return [name.strip() for row in csv.reader(lists, skipinitialspace=True) for name in row if name.strip()]


def numbers_of(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them.

    >>> numbers_of("--quantiles", "0.1, 0.9")
    (0.1, 0.9)
    """
    try:
        return None if text is None else tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{option} takes numbers with commas between them; got {text!r}. Write for example "
            f"{option} 0.1,0.5,0.9."
        ) from None


def class_weight_of(words: Sequence[str] | None) -> Any:
    """Labels with weights, where the last `=` counts; or "balanced".

    >>> class_weight_of(["yes=5", "no=1"]), class_weight_of(["balanced"])
    ({'yes': 5.0, 'no': 1.0}, 'balanced')
    """
    if not words or list(words) == ["balanced"]:
        return words[0] if words else None
    try:
        return {label: float(weight) for label, _, weight in (word.rpartition("=") for word in words)}
    except ValueError:
        raise ConfigError(
            f"--class-weight takes balanced, or LABEL=WEIGHT; got {', '.join(words)!r}. "
            "Write for example --class-weight yes=5."
        ) from None


def threshold_of(text: str | None) -> str | float | None:
    """A probability, or the name of a metric.

    >>> threshold_of("0.3"), threshold_of("f1")
    (0.3, 'f1')
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def kinds_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Column kinds from COL=KIND pairs, the last `=` counts; an order of levels is a list.

    >>> kinds_of(["zip=category", "a=b=date", "size=S<M<L"])
    {'zip': 'category', 'a=b': 'date', 'size': ['S', 'M', 'L']}
    """
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--kind takes COL=KIND; got {pair!r}. Write for example --kind zip=category.")
    named = [(name, kind) for name, _, kind in (pair.rpartition("=") for pair in pairs)]
    return {name: kind.split("<") if "<" in kind else kind for name, kind in named}


def marks_of(lists: Sequence[str]) -> Any:
    """Marks of missing values from comma lists: for all columns, or of COL=MARK for one.

    >>> marks_of(["?,-999"]), marks_of(["age=-1", "age=0"])
    (['?', '-999'], {'age': ['-1', '0']})
    """
    marks = names_of(lists)
    pairs = [mark.rpartition("=") for mark in marks]
    if not any(name for name, _, _ in pairs):
        return marks
    if not all(name for name, _, _ in pairs):
        raise ConfigError(
            f"--missing takes marks for all columns, or COL=MARK throughout; got both: {', '.join(marks)}."
        )
    return {name: [mark for other, _, mark in pairs if other == name] for name, _, _ in pairs}


def directions_of(pairs: Sequence[str]) -> dict[str, str]:
    """Directions of monotone columns from COL=DIRECTION pairs; the last `=` counts.

    >>> directions_of(["size=increasing", "a=b=decreasing"])
    {'size': 'increasing', 'a=b': 'decreasing'}
    """
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(
                f"--monotone takes COL=DIRECTION; got {pair!r}. Write for example --monotone size=increasing."
            )
    return {name: direction for name, _, direction in (pair.rpartition("=") for pair in pairs)}
