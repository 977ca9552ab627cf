"""The C compiler of this machine: a file is compiled and asked before it is written."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, OutputError
from multilayer.export.parity import Said
from multilayer.export.typed import Input, Values

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")
_TYPES: dict[str, Any] = {
    "text": ctypes.c_char_p,
    "date": ctypes.c_int64,
    "written": ctypes.c_int64,
    "number": ctypes.c_double,
    "exposure": ctypes.c_double,
}


def compiler() -> str:
    """The one that CC names, or the first that there is.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get("CC", "").split()[:1]
    for name in (*named, *COMPILERS):
        if (path := shutil.which(name)) is not None:
            return path
    raise ConfigError(
        "an export to C is compiled and compared with the library before it is written; there is no C "
        "compiler here (cc, gcc or clang). Install one, or name it in the variable CC."
    )


class Compiled:
    """A file of C, compiled and loaded: asks it about rows.

    n_code: bytes of machine code and tables; None where that cannot be told
    """

    def __init__(
        self, text: str, inputs: Sequence[Input], fields: Sequence[str], shape: tuple[int, ...]
    ) -> None:
        """shape: of a row's prediction."""
        self._inputs, self._shape = inputs, shape
        members = [(name, _TYPES[each.role]) for name, each in zip(fields, inputs, strict=True)]
        self._row = type("Row", (ctypes.Structure,), {"_fields_": members or [("nothing", ctypes.c_char)]})
        self._fields = fields
        with TemporaryDirectory() as folder:
            self._library = ctypes.CDLL(os.fspath(built(text, Path(folder), "-fPIC", "-shared")))

    def __call__(self, values: Values) -> Said:
        """Encoded rows and predictions; NaN where it does not know."""
        n = len(next(iter(values.values())))
        n_columns = self._library.multilayer_columns()
        encoded = np.full((n, n_columns), np.nan, np.float32)
        prediction = np.full((n, int(np.prod(self._shape))), np.nan)
        columns = [_as_c(each, values[each.name]) for each in self._inputs]
        for i in range(n):
            row = self._row(*(column[i] for column in columns))
            if self._library.multilayer_encode(ctypes.byref(row), _address(encoded[i])):
                continue
            self._library.multilayer_predict(ctypes.byref(row), _address(prediction[i]))
        return Said(encoded, prediction.reshape(n, *self._shape))


def _as_c(each: Input, values: NDArray[Any]) -> list[Any]:
    return [value.encode() for value in values.tolist()] if each.role == "text" else values.tolist()


def _address(array: NDArray[Any]) -> Any:
    return ctypes.c_void_p(array.ctypes.data)


def built(text: str, folder: Path, *flags: str, cc: str | None = None) -> Path:
    """The program or library that a file becomes.

    Raises:
        OutputError: the compiler refuses it.
    """
    source, out = folder / "model.c", folder / "model.out"
    source.write_text(text, "utf-8")
    command = [cc or compiler(), *FLAGS, *flags, os.fspath(source), "-o", os.fspath(out), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OutputError(
            f"a file of C must compile; {command[0]} says: {done.stderr.strip()[:500]}. Nothing was written. "
            "Please report this."
        )
    return out
