from collections.abc import Callable
from typing import Any

import pytest

from multilayer.table.column import Column
from multilayer.table.encode import Encoder
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import read_table


def fitted(source: Any, kinds: Any = None, rows: Any = None) -> Encoder:
    table = read_table(source)
    return Encoder.fit(table if rows is None else table.take(rows), infer_schema(table, kinds=kinds))


@pytest.fixture(scope="session")
def fit() -> Callable[..., Encoder]:
    """The encoder of a table, learnt on all rows or on some."""
    return fitted


@pytest.fixture(scope="session")
def by_name() -> Callable[..., dict[str, Any]]:
    """Feature name -> encoded column, of an encoder learnt on all rows or on some."""

    def encoded(source: Any, **options: Any) -> dict[str, Any]:
        encoder = fitted(source, **options)
        num = encoder.transform(read_table(source)).num
        return {feature.name: num[:, i] for i, feature in enumerate(encoder.num_features)}

    return encoded


@pytest.fixture(scope="session")
def inferred() -> Callable[[Any], Column]:
    """The column that a list of values gives."""
    return lambda values: infer_schema(read_table({"c": values}))["c"]
