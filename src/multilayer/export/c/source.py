"""Parts of a file of C: constants, names, and the functions that it calls."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if inline int
        long register restrict return short signed sizeof static struct switch typedef union unsigned void
        volatile while bool class new delete this template operator private public virtual""",
    )
)
_A_LINE = {"uint32_t": 10, "uint64_t": 6, "uint16_t": 20, "int64_t": 6}  # numbers
_NAME = re.compile(r"^static [^(]*?(\w+)\(", re.MULTILINE)
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


class Constants:
    """The constants of a file; equal ones stand there once.

    n_bytes: that they take in read-only memory, where a pointer has 4
    """

    def __init__(self) -> None:
        self._name_of: dict[tuple[str, str], str] = {}
        self.n_bytes = 0

    def words(self, values: NDArray[np.float32]) -> str:
        """Name of an array of uint32_t: the bits of float32."""
        return self.whole("uint32_t", np.ascontiguousarray(values, np.float32).view(np.uint32).ravel())

    def long_words(self, values: NDArray[np.float64]) -> str:
        """Name of an array of uint64_t: the bits of float64."""
        return self.whole("uint64_t", np.ascontiguousarray(values, np.float64).view(np.uint64).ravel())

    def whole(self, kind: str, values: NDArray[Any]) -> str:
        """Name of an array of whole numbers of a C type."""
        numbers: list[int] = values.tolist() or [0]
        form = _in_decimals if kind in ("int64_t", "uint16_t") else hex
        size = _A_LINE[kind]
        lines = [", ".join(map(form, numbers[i : i + size])) for i in range(0, len(numbers), size)]
        bits = int(re.sub(r"\D", "", kind.removesuffix("_t")))
        return self._named(kind, ",\n    ".join(lines), len(numbers) * bits // 8, len(numbers))

    def texts(self, values: Sequence[str]) -> str:
        """Name of an array of strings."""
        body = ",\n    ".join(map(quoted, values)) or '""'
        n_bytes = sum(len(value.encode()) + 5 for value in values)
        return self._named("char *const", body, n_bytes, max(1, len(values)))

    def _named(self, kind: str, body: str, n_bytes: int, n: int) -> str:
        key = kind, body
        if key not in self._name_of:
            self._name_of[key] = f"c{len(self._name_of)}[{n}]"
            self.n_bytes += n_bytes
        return self._name_of[key].partition("[")[0]

    def __str__(self) -> str:
        return "\n".join(
            f"static const {kind} {name} = {{\n    {body}}};" for (kind, body), name in self._name_of.items()
        )


def _in_decimals(value: int) -> str:
    return str(value)


def quoted(text: str) -> str:
    r"""A string of C, in ASCII: other bytes in octal, which unlike hexadecimal ends after three digits.

    >>> print(quoted('say "é"?'))
    "say \"\303\251\"\077"
    """
    parts = []
    for byte in text.encode():
        letter = chr(byte)
        if letter in _SHORT_ESCAPES:
            parts.append(_SHORT_ESCAPES[letter])
        elif 32 <= byte < 127 and letter != "?":  # of question marks, ??= and the like mean something else
            parts.append(letter)
        else:
            parts.append(f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'


def comment(text: str) -> str:
    """A text that may stand within a comment.

    >>> comment("a */ b")
    'a * / b'
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\")


def number(value: float) -> str:
    """A float64 of C, to the last bit.

    >>> number(0.1), number(float("-inf"))
    ('0x1.999999999999ap-4', '-INFINITY')
    """
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return float(value).hex()


def identifiers(names: Sequence[str]) -> list[str]:
    """A name of C for each name of a column, all different.

    >>> identifiers(["size", "size!", "int", "größe", "2nd"])
    ['size', 'size_', 'int_', 'gr__e', 'c2nd']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        text = re.sub(r"[^A-Za-z0-9_]", "_", name)[:60] or "column"
        if not text[0].isalpha():
            text = f"c{text}"
        while text in taken or text in _KEYWORDS:
            text += "_"
        taken.add(text)
        found.append(text)
    return found


def functions_for(body: str) -> str:
    """The functions that a file calls, those that they call before them."""
    found = [block.strip("\n") for block in re.split(r"\n\n(?=static|/\*)", _helpers())]
    needed, text = [], body
    for block in reversed(found):
        (name, *_) = _NAME.findall(block)
        if re.search(rf"\b{name}\(", text):
            needed.append(block)
            text += block
    return "\n\n".join(reversed(needed))


def _helpers() -> str:
    return files("multilayer.export.c").joinpath("helpers.c").read_text("utf-8")
