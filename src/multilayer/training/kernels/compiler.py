"""numba as our kernels use it: compiled when first called, kept on disk, loaded quickly.

What is on disk may be cut short, damaged or another's: it is used only if its checksum fits, and compiled
anew otherwise. Nothing that a disk does is an error. Compiling is never broken off half-way: Ctrl-C is heard
at once, and what is being compiled is finished in the background.
"""

import atexit
import hashlib
import inspect
import logging
import os
import pickle
import threading
from collections.abc import Callable
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import CacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime.nrt import rtsys

logger = logging.getLogger("multilayer")
_RUNNING: set[threading.Thread] = set()
_Result = TypeVar("_Result")


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
    """Digest of all files of this folder: what compiled code comes from, and what compiles it."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_LOCATORS: list[Any] = CacheImpl._locator_classes
_LOCATORS.insert(0, _CacheLocator)


class _CheckedFiles(IndexDataCacheFile):
    """numba's files of one function, each behind a checksum.

    numba believes what it reads: a damaged byte of machine code would be run. A file of code also says what
    it is the code of, as the index may have been lost, or written by another process at the same time.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write the code, then the index: a process that is killed between leaves no wrong code."""
        names = self._load_index()
        numbers = (self._data_name(i) for i in range(1, len(names) + 2))
        name = names.get(key) or next(name for name in numbers if name not in names.values())
        self._write(self._data_path(name), (key, data))
        self._write(self._index_path, names | {key: name})

    def load(self, key: Any) -> Any:
        """The code for a key; None if it is not there, or not whole."""
        name = self._load_index().get(key)
        found = None if name is None else self._read(self._data_path(name))
        return found[1] if isinstance(found, tuple) and found[0] == key else None

    def _load_index(self) -> dict[Any, str]:
        found = self._read(self._index_path)
        return found if isinstance(found, dict) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, overloads)

    def _write(self, path: str, content: Any) -> None:
        data = self._dump(content)
        with self._open_for_write(path) as file:
            file.write(self._digest(path, data) + data)

    def _read(self, path: str) -> Any:
        try:
            found = Path(path).read_bytes()
        except OSError:
            return None
        n = hashlib.sha256().digest_size
        return pickle.loads(found[n:]) if found[:n] == self._digest(path, found[n:]) else None

    def _digest(self, path: str, data: bytes) -> bytes:
        about = f"{self._version} {self._source_stamp} {Path(path).name} "
        return hashlib.sha256(about.encode() + data).digest()


class _Cache(FunctionCache):
    """numba's cache on disk, checked, and without all the declarations that only compiling needs.

    numba reads these before it looks for compiled code, which takes 0.1 to 0.4 s and is what a first small
    fit would wait for. When something is not there and has to be compiled, the compiler reads them anyway.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFiles(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for these types; None if it is not there."""
        rtsys.initialize(target_context)
        try:
            return self._load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, we can compile
            logger.info("%s cannot be used (%s); it is compiled anew.", self._cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where the disk lets us."""
        try:
            self._save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, we have what was compiled
            _say_uncached(self._cache_path, str(error))


@cache
def _say_uncached(path: str, reason: str) -> None:
    logger.warning("Compiled kernels cannot be kept in %s (%s); each process compiles them.", path, reason)


def undisturbed(work: Callable[[], _Result]) -> _Result:
    """Run what must not be broken off half-way. Ctrl-C is heard at once all the same; the work goes on.

    Signals interrupt the main thread alone: there, a thread of its own does the work. numba would be left
    with functions that are half declared, and callbacks of LLVM would swallow the interruption. Where a
    function of others that calls ours is being compiled, the main thread holds numba's lock, for which the
    other one would wait for ever.
    """
    if threading.current_thread() is not threading.main_thread() or global_compiler_lock.is_locked():
        return work()
    done: list[_Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - for the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="multilayer compiles")
    _RUNNING.intersection_update({each for each in _RUNNING if each.is_alive()})
    _RUNNING.add(thread)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def is_compiling() -> bool:
    """Whether something that Ctrl-C interrupted is still being compiled."""
    return any(thread.is_alive() for thread in _RUNNING)


@atexit.register
def _finish() -> None:
    """A process that ends in the middle of LLVM's work may crash."""
    for thread in _RUNNING:
        thread.join()


if hasattr(os, "register_at_fork"):  # a fork waits for what is being compiled: its copy could not go on
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile on first call, with a cache on disk where some folder can be written.

    unwrap: a run-time type checker (in the tests) may have wrapped the function.
    """
    compiled = njit(error_model="numpy", nogil=True, **options)(inspect.unwrap(function))
    _keep_on_disk(compiled)
    compile_now = compiled.compile

    @wraps(compile_now)
    def compile_undisturbed(sig: Any) -> Any:
        return undisturbed(partial(compile_now, sig))

    compiled.compile = compile_undisturbed
    return compiled


def c_function(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """As `jit`, but a C function of this signature, compiled or loaded now."""
    function = inspect.unwrap(function)
    options |= {"error_model": "numpy", "nopython": True}
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
    _keep_on_disk(compiled)
    undisturbed(compiled.compile)
    return compiled


def _keep_on_disk(compiled: Any) -> None:
    """Without a folder to write to it is compiled anew in every process."""
    try:
        compiled._cache = _Cache(compiled.__wrapped__)
    except OSError as error:
        _say_uncached("a folder", str(error))
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
