"""`multilayer warmup`: the training kernels, compiled ahead."""

from multilayer.cli.printing import show
from multilayer.progress import progress
from multilayer.signals import held_back


def warmup() -> None:
    """Compile the training kernels ahead, for images: later runs only load them."""
    with progress("compiling the training kernels"):
        with held_back():
            from multilayer.training.kernels.engine import warm_up

        warm_up()
    show("The training kernels are compiled.")
