"""Reports of eight models of development tables, one a task: `python -m benchmarks.report_pages SUITE OUT`.

Prints a line each: the page, its size, seconds of the fit and of the report, and the verdict. The pages are
to be looked at: in light and dark, wide and narrow.
"""

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import multilayer as ml
from benchmarks.suite import read_suite

MOST_ROWS = 8_000
# page -> (table of the suite, targets or None for the suite's own, settings of the fit)
PAGES: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {
    "binary": ("adult", None, {}),
    "rare-class": ("sick", None, {"threshold": "f1"}),
    "multiclass": ("covertype_15k", None, {}),
    "many-classes": ("letter", None, {}),
    "regression": ("california_housing", None, {}),
    "counts": ("bike_sharing", None, {"objective": "poisson"}),
    "quantiles": ("wine_quality", None, {"quantiles": (0.05, 0.5, 0.95)}),
    "dates": ("weather_aus", None, {}),
}


def main(suite: str, out: str, *names: str) -> None:
    """Fit and write each page; names: of pages, all without."""
    entries = {entry.name: entry for entry in read_suite(Path(suite))}
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or PAGES:
        of, targets, settings = PAGES[name]
        entry = entries[of]
        table = entry.read().drop(columns=list(entry.drop))
        if len(table) > MOST_ROWS:
            table = table.sample(MOST_ROWS, random_state=0)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ml.fit(
                table,
                target=targets or entry.target,
                quality="fast",
                baselines=True,
                verbose=False,
                **settings,
            )
            fitted = time.perf_counter()
            found = model.report(folder / f"{name}.html")
        done = time.perf_counter()
        size = (folder / f"{name}.html").stat().st_size / 1e3
        print(
            f"{name}: {size:.0f} kB, fit {fitted - started:.1f} s, report {done - fitted:.1f} s."
            f" {found['verdict']}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
