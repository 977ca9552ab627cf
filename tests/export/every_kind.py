"""Small models with columns of every kind, one for each task."""

from functools import cache

import multilayer as ml
from multilayer.model.model import Model
from multilayer.table.sources.read import Table
from tests.table.test_steps import columns_of_every_kind, schema_of, targets

TASKS = tuple(targets())


@cache
def model_of(task: str, network: str | None = None) -> Model:
    _, columns = columns_of_every_kind(0)
    of_target, options = targets()[task]
    network_options = {"hidden": 4} if network is None else {"network": network}
    if network == "tabm":
        network_options["hidden"] = [16, 16]  # of each of its 32 members
    found: Model = ml.fit(
        Table({**columns, **of_target}),
        target=list(of_target) if len(of_target) > 1 else "y",
        schema=schema_of(columns),
        members=2,
        epochs=2,
        seed=0,
        **options,
        **network_options,
    )
    return found
