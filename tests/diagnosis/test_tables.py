"""Faults of a table, planted one by one."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer.errors import ConfigError, DataError

Columns = dict[str, Any]


def flats(n: int = 300) -> Columns:
    rng = np.random.default_rng(0)
    table: Columns = {
        "size": rng.gamma(9, 8, n) + 15,
        "year": rng.integers(1900, 2021, n).astype(float),
        "zone": rng.choice(["port", "hills", "park"], n),
    }
    table["rent"] = 250 + 11 * table["size"] + 140 * (table["zone"] == "port") + rng.gamma(3, 25, n)
    return table


RNG = np.random.default_rng(1)
WRONG = RNG.random(300) < 0.15
FAULTS: dict[str, Callable[[Columns], Columns]] = {
    "identifier": lambda t: t | {"number": np.arange(300) + 7},
    "target-copy": lambda t: t | {"yearly": 12 * t["rent"]},
    "duplicates-across-folds": lambda t: {k: np.concatenate([v, v[:100]]) for k, v in t.items()},
    "time-order": lambda t: t | {
        "day": np.datetime64("2020-01-01") + np.arange(300), "rent": t["rent"] + 9 * np.arange(300),
    },
    "constant-column": lambda t: t | {"country": ["Norway"] * 300},
    "unit-change": lambda t: t | {"size": np.where(WRONG, 1000, 1) * t["size"]},
    "target-unit": lambda t: t | {"rent": np.where(WRONG, 100, 1) * t["rent"]},
    "swapped-columns": lambda t: t | {
        "size": np.where(WRONG, t["year"], t["size"]), "year": np.where(WRONG, t["size"], t["year"]),
    },
    "unseen-levels": lambda t: t | {"street": [f"s{i % 200}" for i in range(300)]},
    "imbalance": lambda t: t | {"rent": np.where(np.arange(300) % 60 == 0, "high", "usual")},
    "few-rows": lambda t: {"rent": t["rent"][:8], **{f"x{i}": RNG.normal(size=8) for i in range(9)}},
}  # fmt: skip


def test_a_healthy_table_has_nothing() -> None:
    assert ml.doctor_table(flats(), target="rent", fits=False).codes == []


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_named_first(code: str) -> None:
    findings = ml.doctor_table(FAULTS[code](flats()), target="rent", fits=False)

    assert findings.codes[0] == code
    json.dumps(findings.to_json())


def test_patches_are_settings_of_fit() -> None:
    fitting = ml.doctor_table(FAULTS["target-copy"](flats()), target="rent", fits=False).apply()

    assert fitting.settings == {"target": "rent", "drop": ["yearly"]}


def test_labels_that_were_flipped_are_named() -> None:
    rng = np.random.default_rng(0)
    size, year = rng.uniform(size=1200), rng.uniform(size=1200)
    right = size + year > 1
    label = np.where(rng.random(1200) < 0.2, ~right, right)

    table = {"size": size, "year": year, "let": label}
    assert ml.doctor_table(table, target="let").codes == ["flipped-labels"]


def test_rows_to_validate_on_are_compared() -> None:
    table = flats()
    newer = {name: values[:100] for name, values in table.items()} | {"size": table["size"][:100] + 90}

    assert ml.doctor_table(table, target="rent", fits=False, validation=newer).codes == ["shift"]
    assert ml.doctor_table(table, target="rent", fits=False, validation=table).codes == []


def test_fit_keeps_what_the_quick_checks_find(caplog: pytest.LogCaptureFixture) -> None:
    model = ml.fit(FAULTS["target-copy"](flats()), target="rent", members=2, epochs=1, hidden=4)

    assert [one["code"] for one in model.summary["findings"]] == ["target-copy"]
    assert caplog.text.count("(target-copy)") == 1


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(DataError, match="rnet"):
        ml.doctor_table(flats(), target="rnet")
    with pytest.raises(ConfigError, match="ignore must hold codes"):
        ml.doctor_table(flats(), target="rent", ignore=["time"])
