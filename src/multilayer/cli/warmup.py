"""`multilayer warmup`: the training loops, compiled in advance."""

from multilayer.cli.printing import show
from multilayer.progress import progress
from multilayer.signals import held_back


def warmup() -> None:
    """Compile the training loops in advance, for container images: later runs only load them."""
    with progress("compiling the training loops"):
        with held_back():
            from multilayer.training.kernels.engine import warm_up

        warm_up()
    show("The training loops are compiled.")
