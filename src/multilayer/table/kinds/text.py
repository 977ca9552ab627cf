"""Free text: several words in most cells, mostly distinct."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import are_finite, is_count, need
from multilayer.table.cells import distinct_texts, is_missing
from multilayer.table.column import Column
from multilayer.table.kinds.kind import (
    Arrays,
    Coder,
    Kind,
    Learning,
    Stored,
    any_values,
    as_declared,
    as_everywhere,
    as_it_is,
    as_texts,
    cells_of_texts,
    no_candidates,
    no_codes,
    note_of_kind,
    of_no_texts,
    range_text,
)
from multilayer.table.kinds.number import CLIP
from multilayer.table.levels import as_levels
from multilayer.table.steps import Chain, Feature, IsMissing, Outputs, SmoothClip, Take, Vectors
from multilayer.table.text import N_HASHES, TextVectors, n_words

ARRAYS = ("buckets", "weights", "projection", "center", "scale")


def _measure(column: Column, values: NDArray[Any]) -> Column:
    texts = distinct_texts(as_levels(values))
    sizes = [n_words(text) for text in texts]
    return replace(column, n_unique=len(texts), low=float(min(sizes)), high=float(max(sizes)))


def _show(column: Column) -> str:
    shown = range_text(column, "{:.0f}".format)
    return f"{shown} words" if shown else ""


@dataclass(frozen=True)
class Text(Coder):
    """Free text as its place along a few directions of `TextVectors`, its length, its absence."""

    column: Column
    vectors: TextVectors
    has_missing: bool  # among the training rows

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], width: int) -> "Text":
        """Learn from the values of training rows; width: directions, at most."""
        texts = as_levels(values)
        distinct = distinct_texts(texts)
        return cls(column, TextVectors.fit(distinct, width), bool(is_missing(texts).any()))

    @cached_property
    def outputs(self) -> Outputs:
        """A number for each direction, the number of words, and absence."""
        name = self.column.name
        tells = [*(f"text {i + 1}" for i in range(self.vectors.width)), "words"]
        vectors: Chain = (Vectors(self.vectors), SmoothClip(CLIP))
        outputs: list[tuple[Feature, Chain]] = [
            (Feature(f"{name} ({tell})", name, "text"), (*vectors, Take(i))) for i, tell in enumerate(tells)
        ]
        if self.has_missing:
            outputs.append((Feature(f"{name} (missing)", name, "missing"), (IsMissing(),)))
        return tuple(outputs)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {
            "coder": "text",
            "has_missing": self.has_missing,
            "n_word_terms": self.vectors.n_word_terms,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those of the vectors."""
        return self.vectors.arrays()

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Text":
        """The inverse of `to_json` and `arrays`."""
        own = {name: array for name, array in arrays.items() if name not in ("knots", "places")}
        return cls(column, TextVectors.from_arrays(plan["n_word_terms"], own), plan["has_missing"])


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Text:
    return Text.fit(column, values, learning.text_width)


def _check(plan: Mapping[str, Any]) -> None:
    need(type(plan.get("has_missing")) is bool, "'has_missing' must be true or false")
    need(is_count(plan.get("n_word_terms")), "'n_word_terms' must be a whole number")


def _n_numbers(plan: Mapping[str, Any], n_levels: int) -> int:
    """All but the directions, which the arrays tell."""
    return 1 + plan["has_missing"]


def _check_arrays(plan: Mapping[str, Any], arrays: Arrays) -> None:
    buckets, weights, projection, center, scale = (arrays[name] for name in ARRAYS)
    need(buckets.dtype == np.uint32 and buckets.ndim == 1, "its terms are absent")
    n, n_words = len(buckets), plan["n_word_terms"]
    need(
        n < 2**15 and n_words <= n and len(np.unique(buckets)) == n,
        "its terms are too many, or twice there",
    )
    need(
        (buckets[:n_words] < N_HASHES).all() and (buckets[n_words:] >= N_HASHES).all(),
        "words come first",
    )
    need((buckets < 2 * N_HASHES).all(), "its terms are no hashes")
    need(are_finite(weights, np.float32, (n,)), "each term needs a weight")
    need((weights > 0).all(), "weights of terms must be above 0")
    need(projection.ndim == 2 and len(projection) == n, "it has no directions")
    need(
        are_finite(projection, np.float32, projection.shape),
        "its directions are no numbers",
    )
    width = projection.shape[1] + 1
    for array in (center, scale):
        need(are_finite(array, np.float64, (width,)), "each number needs a scale")
    need((scale > 0).all(), "scales must be above 0")


TEXT = Kind(
    name="text",
    plural="texts",
    wanted="text",
    settings=frozenset(),
    dtypes="",
    is_numeric=False,
    is_closed=False,
    has_levels=False,
    has_order=False,
    may_number_rows=False,
    may_name_rows=False,
    read=as_texts,
    cells=cells_of_texts,
    numbers=None,
    parser=None,
    of_texts=of_no_texts,
    candidates=no_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=as_it_is,
    fits_note=any_values,
    of_note=note_of_kind,
    measure=_measure,
    show=_show,
    fit=_fit,
    coders={
        "text": Stored(Text.from_json, _n_numbers, _check, own_arrays=ARRAYS, check_arrays=_check_arrays)
    },
)
