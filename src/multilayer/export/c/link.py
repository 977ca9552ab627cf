"""The steps from outputs to a prediction in C: a table of what each step is."""

from collections.abc import Callable, Mapping
from typing import Any

from multilayer.export.c.source import number
from multilayer.tasks import link_steps as links
from multilayer.tasks.link_steps import LinkChain, LinkStep

Write = Callable[[Any, str, int], tuple[list[str], int]]


def _of_each_number(expression: Callable[[Any, str], str]) -> Write:
    def write(step: Any, v: str, n: int) -> tuple[list[str], int]:
        return [f"for (i = 0; i < {n}; i++) {v}[i] = {expression(step, f'{v}[i]')};"], n

    return write


def _both_classes(step: links.BothClasses, v: str, n: int) -> tuple[list[str], int]:
    return [f"{v}[1] = {v}[0];", f"{v}[0] = 1 - {v}[1];"], 2


# What each step does to n numbers in v. First takes the only number, which is there already; Softmax and
# OfEach come before all others.
LINK: Mapping[type[LinkStep], Write] = {
    links.First: lambda step, v, n: ([], 1),
    links.Scale: _of_each_number(lambda step, x: f"{x} * {number(step.factor)}"),
    links.Shift: _of_each_number(lambda step, x: f"{x} + {number(step.by)}"),
    links.Clip: _of_each_number(lambda step, x: f"clip({x}, {number(step.low)}, {number(step.high)})"),
    links.Exp: _of_each_number(lambda step, x: f"exp({x})"),
    links.Sort: lambda step, v, n: ([f"sorted({v}, {n});"], n),
    links.Sigmoid: _of_each_number(lambda step, x: f"1 / (1 + exp(-{x}))"),
    links.BothClasses: _both_classes,
}


def linked(chain: LinkChain, n_outputs: int, v: str = "v", y: str = "y") -> tuple[list[str], int]:
    """Lines that write to v what becomes of the outputs y, and how many numbers these are."""
    if chain and isinstance(chain[0], links.OfEach):
        (of_each,) = chain
        assert isinstance(of_each, links.OfEach)
        lines, n = [], 0
        for i, steps in enumerate(of_each.steps):
            more, n_more = linked(
                steps, of_each.width, f"{v} + {n}" if n else v, f"{y} + {i * of_each.width}"
            )
            lines += more
            n += n_more
        return lines, n
    v = f"({v})" if "+" in v else v
    if chain and isinstance(chain[0], links.Softmax):
        lines, n, chain = [f"softmax({y}, {n_outputs}, {v});"], n_outputs, chain[1:]
    else:
        y = f"({y})" if "+" in y else y
        lines, n = [f"for (i = 0; i < {n_outputs}; i++) {v}[i] = {y}[i];"], n_outputs
    for step in chain:
        more, n = LINK[type(step)](step, v, n)
        lines += more
    return lines, n
