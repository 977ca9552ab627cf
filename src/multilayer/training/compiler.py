"""numba as our kernels use it: compiled when first called, kept on disk, loaded quickly."""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CacheImpl, FunctionCache
from numba.core.ccallback import CFunc
from numba.core.runtime.nrt import rtsys


class _CacheLocator:
    """Has numba keep our kernels where it would anyway, but forget them when any kernel's source changes.

    numba itself looks at a function's own file only; kernels contain functions and constants of other files.
    """

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> Any:
        """The place of one function's cache; None for other people's functions, or where none is writable."""
        if Path(file).parent != Path(__file__).parent:
            return None
        others = (other for other in _LOCATORS if other is not cls)
        locator = next(filter(None, (other.from_function(function, file) for other in others)), None)
        if locator is not None:
            locator.get_source_stamp = _all_sources
        return locator


@cache
def _all_sources() -> str:
    """Digest of all files that compiled code comes from, and of this one, which says how."""
    here = Path(__file__)
    files = [here, *(here.with_name(name) for name in ("vector_math.py", "matmul.py", "blas.py"))]
    files += sorted(here.parent.glob("*kernels.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_LOCATORS: list[Any] = CacheImpl._locator_classes
_LOCATORS.insert(0, _CacheLocator)


class _Cache(FunctionCache):
    """numba's cache on disk, without all the declarations that only compiling needs.

    numba reads these before it looks for compiled code, which takes 0.1 to 0.4 s and is what a first small
    fit would wait for. When something is not there and has to be compiled, the compiler reads them anyway.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for these types; None if it is not there."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile on first call, with a cache on disk where some folder can be written.

    unwrap: a run-time type checker (in the tests) may have wrapped the function.
    """
    compiled = njit(error_model="numpy", nogil=True, **options)(inspect.unwrap(function))
    _keep_on_disk(compiled)
    return compiled


def c_function(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """As `jit`, but a C function of this signature, compiled or loaded now."""
    function = inspect.unwrap(function)
    options |= {"error_model": "numpy", "nopython": True}
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
    _keep_on_disk(compiled)
    compiled.compile()
    return compiled


def _keep_on_disk(compiled: Any) -> None:
    """Without a folder to write to it is compiled anew in every process."""
    try:
        compiled._cache = _Cache(compiled.__wrapped__)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
