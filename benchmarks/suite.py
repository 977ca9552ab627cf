"""Tables to measure on: a folder with `suite.json`, one entry a table, and the files that it names."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

MOST_TEST = 5_000  # rows that a draw is tested on


@dataclass(frozen=True)
class Entry:
    """One table of a suite.

    task: "binary", "multiclass" or "regression"; metric: "roc_auc", "accuracy", "log_loss" or "rmse"
    drop: columns to leave out; positive: the positive class; log_target: scores are on log1p(target)
    rows: how many of the table are to learn from; up to 5,000 others are to test on. None: all of it
    """

    name: str
    path: Path
    target: str
    task: str
    metric: str
    drop: tuple[str, ...]
    positive: Any = None
    log_target: bool = False
    rows: int | None = None

    def read(self) -> pd.DataFrame:
        """The whole table, dropped columns included."""
        return pd.read_parquet(self.path) if self.path.suffix == ".parquet" else pd.read_csv(self.path)

    def split(self, table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """80 % to fit on and 20 % to test on, by class where there are classes."""
        strata = None if self.task == "regression" else table[self.target]
        return train_test_split(table, test_size=0.2, random_state=seed, stratify=strata)

    def held_out(self, table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows to learn from and rows to test on: 80 % and 20 %, or so many as `rows` and others.

        Rows to test on whose class was not drawn to learn from are left out.
        """
        if self.rows is None:
            return self.split(table, seed)
        order = np.random.default_rng(seed).permutation(len(table))
        learn, test = table.iloc[order[: self.rows]], table.iloc[order[self.rows : self.rows + MOST_TEST]]
        if self.task != "regression":
            several = learn[self.target].value_counts() > 2  # one to validate on, at least
            known = several.index[several]
            learn, test = learn[learn[self.target].isin(known)], test[test[self.target].isin(known)]
        return learn, test

    def score(self, y: pd.Series, labels: np.ndarray, probs: pd.DataFrame | None) -> float:
        """The suite's metric. probs: one column a class, named by its label as text."""
        if self.metric == "rmse":
            truth, guess = y.to_numpy(float), np.asarray(labels, float)
            if self.log_target:
                truth, guess = np.log1p(truth), np.log1p(np.clip(guess, 0, None))
            return float(np.sqrt(np.mean((truth - guess) ** 2)))
        if self.metric == "accuracy":
            return float(accuracy_score(y.astype(str), pd.Series(labels).astype(str)))
        assert probs is not None
        if self.metric == "roc_auc":
            return float(roc_auc_score(y.astype(str) == str(self.positive), probs[str(self.positive)]))
        names = sorted(probs.columns)
        return float(log_loss(y.astype(str), probs[names].to_numpy(), labels=names))

    def error(self, score: float) -> float:
        """The score as something to make small: 1 - AUC, 1 - accuracy, log loss, RMSE."""
        return as_error(self.metric, score)


def as_error(metric: str, score: float) -> float:
    """The score as something to make small: 1 - AUC, 1 - accuracy, log loss, RMSE."""
    return 1 - score if metric in ("roc_auc", "accuracy") else score


def read_suite(folder: Path, only: list[str] | None = None) -> list[Entry]:
    """The entries of folder/suite.json, or those of the names in `only`."""
    entries = [
        Entry(
            name=raw["name"],
            path=folder / raw["file"],
            target=raw["target"],
            task=raw["task"],
            metric=raw["metric"],
            drop=tuple(raw.get("drop", ())),
            positive=raw.get("positive"),
            log_target=raw.get("target_transform") == "log1p",
            rows=raw.get("rows"),
        )
        for raw in json.loads((folder / "suite.json").read_text())
    ]
    return [entry for entry in entries if not only or entry.name in only]
