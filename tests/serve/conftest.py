"""Models to serve."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer.serve import Application


def flats(n_rows: int = 200, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    flats: dict[str, Any] = {
        "size": rng.uniform(20, 120, n_rows).round(1),
        "rooms": rng.integers(1, 6, n_rows),
        "zone": rng.choice(["port", "hills", "old town"], n_rows),
        "sold": rng.choice(["2024-01-03", "2024-05-06", "2023-11-30", "2024-02-28"], n_rows),
        "garden": rng.choice([True, False], n_rows),
        "note": [f"a {'small' if i % 3 else 'large'} dark room number {i}" for i in range(n_rows)],
    }
    flats["rent"] = 300 + 11 * flats["size"] + 150 * (flats["zone"] == "port")
    flats["class"] = np.where(flats["rent"] > 1000, "dear", np.where(flats["rent"] > 700, "mid", "cheap"))
    return flats


def fitted(path: Path, target: str = "class", seed: int = 0, **more: Any) -> ml.Model:
    table = flats(seed=seed)
    del table["rent" if target == "class" else "class"]
    model = ml.fit(table, target=target, members=2, epochs=2, seed=seed, **more)
    model.save(path)
    return model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def flats_mlp(folder: Path) -> Path:
    """A classifier of six columns."""
    fitted(folder / "flats.mlp")
    return folder / "flats.mlp"


@pytest.fixture(scope="session")
def rents_mlp(folder: Path) -> Path:
    """A regression of the same columns."""
    fitted(folder / "rents.mlp", "rent")
    return folder / "rents.mlp"


@pytest.fixture
def app(flats_mlp: Path) -> Iterator[Application]:
    yield Application(flats_mlp)
