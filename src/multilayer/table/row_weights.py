"""Weights and exposures of rows, checked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError


def check_weights(weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weights of rows, checked.

    Raises:
        DataError: not one finite number for each row, a negative one, or all zero.
    """
    w = _as_array(weight)
    if w.shape != (n_rows,) or w.dtype.kind not in "fiub":
        raise wrong_weights(n_rows, f"shape {w.shape}, type {w.dtype}")
    wrong = np.flatnonzero(~np.isfinite(w) | (w < 0))
    if len(wrong):
        raise wrong_weights(n_rows, f"{w[wrong[0]]} in row {wrong[0]} (counted from 0)")
    if not w.any():
        raise wrong_weights(n_rows, "zeros alone")
    return w.astype(np.float64)


def wrong_weights(n_rows: int, got: str) -> DataError:
    """The error for weights of rows, wherever they were looked at."""
    return DataError(
        f"sample_weight must be {n_rows} finite numbers, none negative and not all zero; got {got}. "
        "Pass one weight for each row; 0 leaves a row out."
    )


def _as_array(values: Any) -> NDArray[Any]:
    """As an array, NaN where it is masked; of objects where the values have no one shape."""
    if np.ma.is_masked(values) and values.dtype.kind in "biuf":
        return np.asarray(values.astype(np.float64).filled(np.nan))
    try:
        return np.asarray(values)
    except ValueError:
        return np.array([None], dtype=object)


def check_exposure(exposure: Any, n_rows: int) -> NDArray[np.float64]:
    """Exposure of rows, checked.

    Raises:
        DataError: not one finite number above 0 for each row.
    """
    e = _as_array(exposure)
    if e.shape != (n_rows,) or e.dtype.kind not in "fiub" or not np.isfinite(e).all() or (e <= 0).any():
        low = f", from {e.min()}" if e.dtype.kind in "fiub" and e.size else ""
        raise DataError(
            f"exposure must be {n_rows} finite numbers above 0; got shape {e.shape}, type {e.dtype}{low}. "
            "Leave out rows without exposure."
        )
    return e.astype(np.float64)
