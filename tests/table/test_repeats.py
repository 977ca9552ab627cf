"""`by_content`: equal rows are merged, weights add up, and order and notation tell nothing."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from multilayer.table import repeats
from multilayer.table.repeats import by_content, row_hashes

Columns = list[NDArray[Any]]


def text(values: list[Any]) -> NDArray[np.object_]:
    return np.array([*values, ""], dtype=object)[:-1]


def picked(columns: Columns, weight: Any = None) -> tuple[list[list[Any]], list[float]]:
    """What came out, as plain values."""
    merged = by_content(columns[:-1], columns[-1:], weight)
    rows = [[repr(column[row]) for column in columns] for row in merged.rows]
    return rows, [1.0] * len(rows) if merged.weight is None else merged.weight.tolist()


@st.composite
def weighted_tables(draw: st.DrawFn) -> tuple[Columns, NDArray[np.float64]]:
    n = draw(st.integers(1, 12))
    columns: Columns = [
        np.array(draw(st.lists(st.sampled_from([0.0, 1.5, np.nan, -3.0]), min_size=n, max_size=n))),
        text(draw(st.lists(st.sampled_from(["a", "b", None, "é"]), min_size=n, max_size=n))),
        np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))),
    ]
    weight = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n).filter(any))
    return columns, np.array(weight, np.float64)


class TestByContent:
    @given(weighted_tables(), st.randoms(use_true_random=False), st.integers(-30, 30))
    def test_weights_repetitions_order_and_scale_come_out_alike(
        self, table: tuple[Columns, NDArray[np.float64]], random: Any, exponent: int
    ) -> None:
        columns, weight = table
        expected = picked(columns, weight)
        repeated = np.repeat(np.arange(len(weight)), weight.astype(int))
        random.shuffle(repeated)
        shuffled = np.random.default_rng(random.randrange(100)).permutation(len(weight))

        assert picked([column[repeated] for column in columns]) == expected
        assert picked([column[shuffled] for column in columns], weight[shuffled]) == expected
        assert picked(columns, np.ldexp(weight, exponent)) == expected

    @given(weighted_tables())
    def test_every_row_keeps_its_share(self, table: tuple[Columns, NDArray[np.float64]]) -> None:
        columns, weight = table
        merged = by_content(columns[:-1], columns[-1:], weight)
        each = np.ones(len(merged.rows)) if merged.weight is None else merged.weight
        keys = [repr([column[i] for column in columns]) for i in range(len(weight))]
        wanted: dict[str, float] = dict.fromkeys(keys, 0.0)
        got = dict(wanted)
        for key, w in zip(keys, weight / weight.sum(), strict=True):
            wanted[key] += w
        for row, w in zip(merged.rows, each / each.sum(), strict=True):
            got[keys[row]] += w

        assert got == pytest.approx(wanted)

    def test_repetitions_are_merged_and_weigh_what_they_weighed(self) -> None:
        numbers = np.concatenate([np.arange(3_000), np.arange(1_000)])
        merged = by_content([numbers], [-numbers])
        assert merged.weight is not None

        assert sorted(numbers[merged.rows].tolist()) == list(range(3_000))
        np.testing.assert_allclose(np.unique(merged.weight), [0.75, 1.5])

    def test_repetitions_of_features_with_several_targets_are_rows_again(self) -> None:
        x, y = np.repeat([0, 0, 1, 1], [3, 1, 2, 5]), np.repeat([0, 1, 0, 1], [3, 1, 2, 5])
        merged = by_content([x], [y])

        assert merged.weight is None
        assert np.bincount(2 * x[merged.rows] + y[merged.rows]).tolist() == [3, 1, 2, 5]

    def test_occasional_repetitions_stay_rows(self) -> None:
        column = np.concatenate([np.arange(200.0), np.arange(40.0)])

        merged = by_content([column])

        assert merged.weight is None
        assert np.array_equal(np.sort(column[merged.rows]), np.sort(column))

    def test_few_distinct_rows_are_not_held_out_as_a_whole(self) -> None:
        x = np.repeat([0, 1], [30, 20])
        merged = by_content([x], [x])

        assert merged.weight is None
        assert np.bincount(x[merged.rows]).tolist() == [3, 2]

    def test_very_many_of_them_weigh_more_instead(self) -> None:
        y = np.repeat([0, 1], [90_007, 9_993])
        merged = by_content([np.zeros(100_000)], [y])
        each = np.ones(len(merged.rows)) if merged.weight is None else merged.weight

        assert 900 < len(merged.rows) <= 1_000
        assert np.bincount(y[merged.rows], each / each.sum()) == pytest.approx([0.90007, 0.09993])

    def test_other_weights_of_them_are_split_by_the_average(self) -> None:
        x = np.repeat(np.arange(1_000), 2)
        weight = np.append(np.random.default_rng(0).uniform(0.6, 1.4, 1_999), 50.0)
        merged = by_content([x], [np.arange(2_000) % 2], weight)

        assert (merged.rows == 1_999).sum() == int(50 / weight.mean())
        assert len(merged.rows) == 1_999 + int(50 / weight.mean())

    def test_rows_that_weigh_next_to_nothing_stay_finite(self) -> None:
        merged = by_content([np.arange(3)], weight=np.array([1e-320, 1.0, 1e300]))
        assert merged.weight is not None

        assert np.isfinite(merged.weight.astype(np.float32)).all()
        assert merged.weight.astype(np.float32).min() > 0

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_huge_and_tiny_weights(self, scale: float) -> None:
        merged = by_content([np.arange(3)], weight=np.array([1.0, 2.0, 4.0]) * scale)

        assert np.bincount(merged.rows).tolist() == [1, 2, 4]

    def test_rows_of_one_hash_are_told_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(repeats, "row_hashes", lambda columns: np.zeros(len(columns[0]), np.uint64))

        merged = by_content([np.array([1.0, 1.0, 2.0, np.nan, np.nan])])

        assert sorted(merged.rows.tolist()) == [0, 0, 2, 3, 3]  # features of one hash count as shared


class TestHashes:
    def test_tell_columns_and_kinds_of_missing_apart(self) -> None:
        a, b = text(["x", "y", None]), text(["y", "x", "x"])
        hashes = row_hashes([a, b])

        assert len(set(hashes.tolist())) == 3
        assert row_hashes([b, a]).tolist() != hashes.tolist()

    def test_equal_values_of_many_bits_are_one(self) -> None:
        nan = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
        assert len(set(row_hashes([nan]).tolist())) == 1
        assert len(set(row_hashes([np.array([0.0, -0.0])]).tolist())) == 1

    def test_no_process_has_its_own(self) -> None:
        code = (
            "import numpy as np\nfrom multilayer.table.repeats import row_hashes\n"
            "print(row_hashes([np.array([1.5]), np.array(['a'], dtype=object)])[0])"
        )
        found = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            for _ in range(2)
        ]

        assert found[0] == found[1] == f"{row_hashes([np.array([1.5]), text(['a'])])[0]}\n"

    def test_many_rows_go_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        columns = [np.arange(100.0), text([str(i) for i in range(100)])]
        whole = row_hashes(columns)
        monkeypatch.setattr(repeats, "_CHUNK", 7)

        assert np.array_equal(row_hashes(columns), whole)
