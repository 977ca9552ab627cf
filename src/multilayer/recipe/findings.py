"""What the doctor's quick checks say of the rows that a model is fitted to."""

import logging
from typing import Any

import numpy as np

from multilayer.diagnosis.table_checks import QUICK, TableScene, check_table
from multilayer.recipe.plan import Plan, Rows
from multilayer.recipe.rows_in_memory import InMemory

logger = logging.getLogger("multilayer")

MOST_ROWS = 3_000  # that are looked at: some hundredths of a second


def table_findings(rows: Rows, plan: Plan) -> list[dict[str, Any]]:
    """Findings in plain values; errors and warnings are said once, by the logger.

    Streamed tables, tables in sparse form and several targets are not looked at.
    """
    if not isinstance(rows, InMemory) or rows.features.is_sparse or not isinstance(plan.facts.target, str):
        return []
    data, n = rows.data, rows.n_rows
    chosen = np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(np.int64))
    code = plan.task.encode(data.y[chosen])
    if code.ndim != 1:
        return []
    features, schema = data.features.take(chosen), plan.encoder.schema
    scene = TableScene(features, code, plan.task.classes, schema, plan.facts.target, ordered=False)
    found = check_table(scene, QUICK)
    for finding in found:
        if finding.severity != "note":
            logger.warning("%s %s (%s)", finding.message, finding.why, finding.code)
    return [finding.to_json() for finding in found]
