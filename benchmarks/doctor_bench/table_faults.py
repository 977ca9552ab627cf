"""S: faults planted into tables for `ml.fit`, and the healthy tables that they are planted into."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Frame = pd.DataFrame


@dataclass(frozen=True)
class TableCase:
    """A table, its target, the codes of which one names what is wrong, and the column that is meant."""

    name: str
    make: Callable[[int], Frame]
    target: str
    codes: tuple[str, ...] = ()
    column: str | None = None


def flats(seed: int, n: int = 900) -> Frame:
    """Rents: numbers and a category."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "size": rng.gamma(9, 8, n) + 15,
            "year": rng.integers(1900, 2021, n).astype(float),
            "distance": rng.gamma(2, 2.5, n),
            "zone": rng.choice(["old town", "port", "hills", "park"], n, p=[0.4, 0.3, 0.2, 0.1]),
        }
    )
    table["rent"] = 250 + 11 * table["size"] - 20 * table["distance"] + 140 * (table["zone"] == "port")
    table["rent"] += 0.8 * (table["year"] - 1960) + rng.gamma(3, 25, n)
    return table


def buyers(seed: int, n: int = 1200) -> Frame:
    """Two classes that four columns tell well."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.uniform(18, 80, n).round(1),
            "income": rng.lognormal(10.4, 0.4, n).round(0),
            "visits": rng.poisson(6, n).astype(float),
            "city": rng.choice(["Oslo", "Rome", "Lima"], n),
        }
    )
    logit = 0.25 * (table["age"] - 48) + 1.2 * (table["visits"] - 6) + 2.0 * (table["city"] == "Rome")
    table["buys"] = np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no")
    return table


def identifier(seed: int) -> Frame:
    table = flats(seed)
    table.insert(0, "number", np.arange(len(table)) + 1000)
    return table


def target_copy(seed: int) -> Frame:
    table = flats(seed)
    return table.assign(yearly=table["rent"] * 12 + np.random.default_rng([seed, 1]).normal(0, 3, len(table)))


def answer_in_a_code(seed: int) -> Frame:
    table = buyers(seed)
    return table.assign(status=np.where(table["buys"] == "yes", "closed", "open"))


def duplicates(seed: int) -> Frame:
    table = flats(seed)
    again = pd.concat([table, table.sample(frac=0.5, random_state=seed)]).sample(frac=1, random_state=seed)
    return again.reset_index(drop=True)


def in_time(seed: int) -> Frame:
    table = flats(seed)
    days = pd.date_range("2020-01-01", periods=len(table), freq="D")
    drift = 600 * np.sin(np.arange(len(table)) / 60) + 1.5 * np.arange(len(table))
    return table.assign(day=days, rent=table["rent"] + drift)


def constant(seed: int) -> Frame:
    return flats(seed).assign(country="Norway")


def imbalance(seed: int) -> Frame:
    table = buyers(seed, 4000)
    rare = table["buys"] == "yes"
    return (
        pd.concat([table[~rare], table[rare].head(40)])
        .sample(frac=1, random_state=seed)
        .reset_index(drop=True)
    )


def unseen(seed: int) -> Frame:
    table = buyers(seed)
    rng = np.random.default_rng([seed, 1])
    streets = [f"street {int(number)}" for number in rng.zipf(1.35, len(table)) % 2000]
    return table.assign(street=streets)


def flipped(seed: int) -> Frame:
    table = buyers(seed, 2400)
    rng = np.random.default_rng([seed, 1])
    wrong = rng.random(len(table)) < 0.2
    return table.assign(buys=np.where(wrong, np.where(table["buys"] == "yes", "no", "yes"), table["buys"]))


def unit(seed: int) -> Frame:
    table = flats(seed)
    metres = np.random.default_rng([seed, 1]).random(len(table)) < 0.15
    return table.assign(size=table["size"] * np.where(metres, 1000, 1))


def swapped(seed: int) -> Frame:
    table = buyers(seed)
    wrong = np.random.default_rng([seed, 1]).random(len(table)) < 0.1
    age, income = table["age"].copy(), table["income"].copy()
    return table.assign(age=np.where(wrong, income, age), income=np.where(wrong, age, income))


def target_unit(seed: int) -> Frame:
    table = flats(seed)
    cents = np.random.default_rng([seed, 1]).random(len(table)) < 0.2
    return table.assign(rent=table["rent"] * np.where(cents, 100, 1))


def few_rows(seed: int) -> Frame:
    rng = np.random.default_rng([seed, 1])
    table = pd.DataFrame(rng.normal(size=(40, 60)), columns=[f"gene {i}" for i in range(60)])
    return table.assign(dose=table["gene 0"] + rng.normal(size=40))


FAULTY = (
    TableCase("identifier", identifier, "rent", ("identifier",), "number"),
    TableCase("target_copy", target_copy, "rent", ("target-copy",), "yearly"),
    TableCase("answer_in_a_code", answer_in_a_code, "buys", ("target-copy",), "status"),
    TableCase("duplicates", duplicates, "rent", ("duplicates-across-folds",)),
    TableCase("in_time", in_time, "rent", ("time-order",), "day"),
    TableCase("constant", constant, "rent", ("constant-column",), "country"),
    TableCase("imbalance", imbalance, "buys", ("imbalance",)),
    TableCase("unseen", unseen, "buys", ("unseen-levels",), "street"),
    TableCase("flipped", flipped, "buys", ("flipped-labels",), "buys"),
    TableCase("unit", unit, "rent", ("unit-change",), "size"),
    TableCase("swapped", swapped, "buys", ("swapped-columns",), "age"),
    TableCase("target_unit", target_unit, "rent", ("target-unit",), "rent"),
    TableCase("few_rows", few_rows, "dose", ("few-rows",)),
)


def of_sklearn(loader: str) -> Callable[[int], Any]:
    def make(seed: int) -> Frame:
        import sklearn.datasets

        return getattr(sklearn.datasets, loader)(as_frame=True).frame

    return make


def weak(seed: int) -> Frame:
    table = buyers(seed)
    rng = np.random.default_rng([seed, 1])
    chance = 1 / (1 + np.exp(-0.03 * (table["age"] - 48)))
    return table.assign(buys=np.where(rng.random(len(table)) < chance, "yes", "no"))


def noise(seed: int) -> Frame:
    return buyers(seed).assign(buys=np.random.default_rng([seed, 1]).choice(["yes", "no"], 1200))


HEALTHY = (
    TableCase("flats", flats, "rent"),
    TableCase("buyers", buyers, "buys"),
    TableCase("weak", weak, "buys"),
    TableCase("noise", noise, "buys"),
    *(
        TableCase(name, of_sklearn(f"load_{name}"), "target")
        for name in ("diabetes", "breast_cancer", "wine", "iris")
    ),
)
