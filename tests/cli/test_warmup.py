"""`multilayer warmup`."""

from tests.cli.command_line import done


def test_warmup_says_that_the_kernels_are_compiled() -> None:
    assert "The training loops are compiled." in done("warmup").stdout
