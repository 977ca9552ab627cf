"""Files are written whole or not at all, with the rights they had; what killed processes left is removed."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from multilayer.errors import OutputError
from multilayer.output import check_writable, lock, sweep, unused, write_atomically

LEFT = ".multilayer-0123456789abcdef0123456789abcdef.tmp"


def rights(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444 | 0o200, 0o755])
def test_a_file_that_is_overwritten_keeps_its_rights(mode: int) -> None:
    Path("m.mlp").write_bytes(b"old")
    Path("m.mlp").chmod(mode)

    write_atomically("m.mlp", b"new")

    assert Path("m.mlp").read_bytes() == b"new"
    assert rights("m.mlp") == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_rights_that_the_umask_leaves(umask: int) -> None:
    old = os.umask(umask)
    try:
        write_atomically("m.mlp", b"new")
    finally:
        os.umask(old)

    assert rights("m.mlp") == 0o666 & ~umask


def test_no_moment_shows_a_private_file_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("m.mlp").write_bytes(b"old")
    Path("m.mlp").chmod(0o600)
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_atomically("m.mlp", b"new")

    assert seen == [0o600]


def test_the_file_behind_a_link_is_replaced() -> None:
    Path("real.mlp").write_bytes(b"old")
    Path("link.mlp").symlink_to("real.mlp")

    write_atomically("link.mlp", b"new")

    assert Path("link.mlp").is_symlink()
    assert Path("real.mlp").read_bytes() == b"new"


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    code = (
        "import os, signal\n"
        "from multilayer.output import write_atomically\n"
        "def pieces():\n"
        "    yield b'half'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically('m.mlp', pieces())\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert len([name for name in os.listdir() if name.startswith(".multilayer-")]) == 1

    write_atomically("n.mlp", b"whole")

    assert os.listdir() == ["n.mlp"]


def test_what_a_living_process_writes_stays() -> None:
    def pieces() -> Any:
        yield b"half"
        subprocess.run(
            [sys.executable, "-c", "from multilayer.output import write_atomically as w; w('n.mlp', b'x')"],
            check=True,
        )
        yield b" and half"

    write_atomically("m.mlp", pieces())

    assert Path("m.mlp").read_bytes() == b"half and half"
    assert sorted(os.listdir()) == ["m.mlp", "n.mlp"]


def test_files_of_other_names_links_and_folders_stay() -> None:
    Path("precious").write_text("x")
    Path(".multilayer-x.tmp").write_text("x")
    Path(LEFT).symlink_to("precious")
    Path(LEFT.replace("0", "f")).mkdir()

    sweep(Path())

    assert len(os.listdir()) == 4
    assert Path("precious").read_text() == "x"


def test_a_locked_file_is_in_use_until_it_is_closed() -> None:
    Path(LEFT).write_text("x")
    with open(LEFT) as file:
        assert lock(file.fileno())
        with unused(Path(LEFT)) as is_unused:
            assert not is_unused
        sweep(Path())
        assert Path(LEFT).exists()

    sweep(Path())

    assert not Path(LEFT).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_devices_and_impossible_names_are_refused() -> None:
    with pytest.raises(OutputError, match="must be a plain file; /dev/full is a device or a pipe"):
        check_writable("/dev/full")
    with pytest.raises(OutputError, match="may not be written"):
        check_writable("x" * 300)
    with pytest.raises(OutputError, match="may not be written"):
        check_writable("a\0b")
