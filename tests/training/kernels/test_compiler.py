"""Compiled code on disk is used if it is whole, else it is made anew; what a disk does is no error."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
from multilayer.training.kernels.compiler import jit

def add(a, b):
    return a + b

def times(a, b):
    return add(a, b) * b

add = jit(add)
times = jit(times)
"""
USE = """
import sys
from kernels_of_a_test import add, times
print(times(2, 3), times(0.5, 2.0), add._cache_hits[add.signatures[0]] if add._cache_hits else 0,
      sum(times._cache_hits.values()), sum(times._cache_misses.values()))
"""
RIGHT = "15 5.0"


def run(code: str = USE, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {**os.environ, "NUMBA_CACHE_DIR": os.path.abspath("cache"), **environment}
    given["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=given, timeout=100
    )


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of kernels, and the cache that its first use made."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "kernels_of_a_test.py").write_text(SOURCE)
    here = os.getcwd()
    os.chdir(folder)
    try:
        done = run()
    finally:
        os.chdir(here)
    assert done.stdout.split()[:2] == RIGHT.split(), done.stderr
    return folder


@pytest.fixture
def cache(warm: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the cache as they were made; its place depends on that of the module."""
    monkeypatch.chdir(warm)
    if not Path("made").exists():
        shutil.copytree("cache", "made")
    shutil.rmtree("cache")
    shutil.copytree("made", "cache")
    return sorted(path for path in Path("cache").rglob("*") if path.is_file())


def test_whole_code_is_loaded(cache: list[Path]) -> None:
    assert len(cache) == 6  # of each function an index, and code for whole numbers and for floats
    done = run()

    assert done.stdout.split() == [*RIGHT.split(), "0", "2", "0"]
    assert done.stderr == ""


def bit(place: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flip


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "text": lambda data: b"no code at all",
    "the first bit": bit(0.0),
    "a bit in the middle": bit(0.5),
    "the last bit": bit(1.0),
}


@pytest.mark.parametrize(
    ("damage", "ending"),
    [*((damage, ".nbc") for damage in DAMAGES), ("empty", ".nbi"), ("the last bit", ".nbi")],
)
def test_damaged_code_is_compiled_anew(cache: list[Path], damage: str, ending: str) -> None:
    for path in cache:
        if path.suffix == ending:
            path.write_bytes(DAMAGES[damage](path.read_bytes()))

    done = run()

    assert done.stdout.split() == [*RIGHT.split(), "0", "0", "2"], done.stderr
    assert done.stderr == ""
    assert run().stdout.split() == [*RIGHT.split(), "0", "2", "0"]  # and kept


def test_code_of_another_function_or_type_is_not_taken_for_its_own(cache: list[Path]) -> None:
    one, other = (
        path for path in cache if path.name.startswith("kernels_of_a_test.times") and path.suffix == ".nbc"
    )
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)

    assert run().stdout.split()[3:] == ["0", "2"]


def test_an_index_that_names_no_file_is_nothing(cache: list[Path]) -> None:
    for path in cache:
        if path.suffix == ".nbc":
            path.unlink()

    assert run().stdout.split() == [*RIGHT.split(), "0", "0", "2"]


def test_another_processor_compiles_for_itself_and_leaves_what_is_there(cache: list[Path]) -> None:
    assert run(NUMBA_CPU_NAME="generic").stdout.split() == [*RIGHT.split(), "0", "0", "2"]
    assert run(NUMBA_CPU_NAME="generic").stdout.split() == [*RIGHT.split(), "0", "2", "0"]
    assert run().stdout.split() == [*RIGHT.split(), "0", "2", "0"]


@pytest.mark.parametrize("where", ["a file", "below a file", "/dev/null/x", "/proc/x"])
def test_without_a_place_for_the_cache_it_works(cache: list[Path], where: str) -> None:
    Path("a file").write_text("x")
    place = f"{os.path.abspath('a file')}/x" if where == "below a file" else os.path.abspath(where)

    done = run(NUMBA_CACHE_DIR=place)

    assert done.stdout.split()[:2] == RIGHT.split(), done.stderr


FULL = """
    import errno, numba.core.caching as caching
    def no_space(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")
    caching.IndexDataCacheFile._open_for_write = no_space
"""


def test_on_a_full_disk_it_works_and_is_said_once(cache: list[Path]) -> None:
    for path in cache:
        path.unlink()

    done = run(textwrap.dedent(FULL) + USE)

    assert done.stdout.split() == [*RIGHT.split(), "0", "0", "2"], done.stderr
    assert done.stderr.count("Compiled kernels cannot be kept in") == 1
    assert "No space left on device" in done.stderr


INTERRUPTED = """
    import os, signal, sys, time
    from numba.core import compiler
    from kernels_of_a_test import times
    compile_ir = compiler.CompilerBase.compile_extra
    def interrupted(self, function):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # in which it is heard
        return compile_ir(self, function)
    compiler.CompilerBase.compile_extra = interrupted
    try:
        times(2, 3)
        print("swallowed")
    except KeyboardInterrupt:
        print("heard")
    compiler.CompilerBase.compile_extra = compile_ir
    for _ in range(100):  # those that come from functions called within
        try:
            time.sleep(0.02)
        except KeyboardInterrupt:
            pass
    print(times(2, 3), times(0.5, 2.0))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_while_compiling_is_heard_and_leaves_everything_usable(cache: list[Path]) -> None:
    for path in cache:
        path.unlink()

    done = run(INTERRUPTED)

    assert done.stdout == f"heard\n{RIGHT}\n", done.stderr
    assert done.returncode == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_ends_while_it_compiles_ends_in_order(cache: list[Path]) -> None:
    for path in cache:
        path.unlink()
    code = textwrap.dedent(INTERRUPTED).partition("compiler.CompilerBase.compile_extra = compile_ir")[0]

    done = run(code)

    assert (done.stdout, done.returncode) == ("heard\n", 0), done.stderr


def test_a_function_of_others_may_call_ours(cache: list[Path]) -> None:
    """It is compiled in the main thread, which has numba's lock meanwhile."""
    for path in cache:
        path.unlink()

    done = run(
        """
        from numba import njit
        from kernels_of_a_test import times
        print(njit(lambda a: times(a, 3) + 1)(2))
        """
    )

    assert (done.stdout, done.stderr) == ("16\n", "")


def test_an_error_of_the_compiler_comes_through(cache: list[Path]) -> None:
    done = run("from kernels_of_a_test import times\ntimes('a', None)\n")

    assert done.returncode == 1
    assert "TypingError" in done.stderr


def test_what_is_left_of_the_cache_is_no_more_than_it_was(cache: list[Path]) -> None:
    run()
    found: Any = sorted(path.name for path in Path("cache").rglob("*") if path.is_file())

    assert found == [path.name for path in cache]
