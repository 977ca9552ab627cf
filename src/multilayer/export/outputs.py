"""The numbers of a prediction by name."""

import numpy as np

from multilayer.model.model import Model


def names_of_outputs(model: Model) -> list[str]:
    """A name for each number of a prediction: a class, a target, a quantile."""
    task, targets = model.task, model.targets
    shape = task.link(np.zeros((1, task.n_outputs), np.float32)).shape[1:]
    if len(task.classes) == int(np.prod(shape)) and task.kind != "multilabel":
        return [str(label) for label in task.classes]
    levels = [f"{level:g}" for level in model.quantiles or ()]
    if levels and len(targets) == 1:
        return levels
    if levels:
        return [f"{target} {level}" for target in targets for level in levels]
    return list(targets)
