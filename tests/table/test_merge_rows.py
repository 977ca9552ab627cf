"""`by_content`: equal rows are merged, weights add up, and order and notation tell nothing."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from multilayer.table import merge_rows as repeats
from multilayer.table.merge_rows import by_content, row_hashes

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
    @given(weighted_tables(), st.randoms(use_true_random=False))
    def test_weights_repetitions_and_order_come_out_alike(
        self, table: tuple[Columns, NDArray[np.float64]], random: Any
    ) -> None:
        columns, weight = table
        expected = picked(columns, weight)
        repeated = np.repeat(np.arange(len(weight)), weight.astype(int))
        random.shuffle(repeated)
        shuffled = np.random.default_rng(random.randrange(100)).permutation(len(weight))

        assert picked([column[repeated] for column in columns]) == expected
        assert picked([column[shuffled] for column in columns], weight[shuffled]) == expected

    @given(weighted_tables(), st.integers(-30, 0))
    def test_scale_tells_nothing_of_weights_that_are_no_counts(
        self, table: tuple[Columns, NDArray[np.float64]], exponent: int
    ) -> None:
        columns, weight = table[0], table[1] + 0.5

        assert picked(columns, np.ldexp(weight, exponent)) == picked(columns, weight)

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
        counts = [1, 1, 1, 5] * 20  # many are there once: new rows may well be others
        x, y = np.repeat(np.repeat(np.arange(40), 2), counts), np.repeat(np.tile([0, 1], 40), counts)
        merged = by_content([x], [y])

        assert merged.weight is None
        assert not merged.will_repeat
        assert np.bincount(2 * x[merged.rows] + y[merged.rows]).tolist() == counts

    def test_occasional_repetitions_stay_rows(self) -> None:
        column = np.concatenate([np.arange(200.0), np.arange(40.0)])

        merged = by_content([column])

        assert merged.weight is None
        assert np.array_equal(np.sort(column[merged.rows]), np.sort(column))

    def test_few_distinct_rows_are_not_held_out_as_a_whole(self) -> None:
        x = np.arange(12.0)
        merged = by_content([x], weight=np.where(x < 6, 0.75, 1.5))

        assert merged.weight is None
        assert np.bincount(x[merged.rows].astype(int)).tolist() == [1] * 6 + [2] * 6

    def test_very_many_of_them_weigh_more_instead(self) -> None:
        y = np.repeat([0, 1], [90_007, 9_993])
        merged = by_content([np.zeros(100_000)], [y])
        each = np.ones(len(merged.rows)) if merged.weight is None else merged.weight

        assert 1_900 <= len(merged.rows) <= 2_000
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

        merged = by_content([np.array([1.0, 1.0, 2.0, np.nan, np.nan])], weight=np.full(5, 0.5))

        assert sorted(merged.rows.tolist()) == [0, 0, 2, 3, 3]  # features of one hash count as shared


def times(column: Any, n: int) -> NDArray[Any]:
    return np.tile(np.array(column, dtype=object if isinstance(column[0], str) else None), n)


class TestRowsThatNewOnesWillRepeat:
    @pytest.mark.parametrize(
        "table",
        [
            [times(["A", "B", "C"], 100)],
            [times([1.5, 7.25], 4), times([3.0, 4.0], 4)],
            [times(np.repeat(np.arange(10), 10), 3), times(np.tile(np.arange(10), 10), 3)],
            [times(np.repeat(np.arange(20.0), 20), 3), times(np.tile(np.arange(20.0), 20), 3)],
            [times([f"level {i}" for i in range(200)], 2)],
            [times(np.linspace(0.0, 1.0, 40), 8)],  # few rows, very often
        ],
    )
    def test_are_spread_each_as_much_as_the_others(self, table: Columns) -> None:
        merged = by_content(table)
        seen = np.unique(row_hashes([column[merged.rows] for column in table]), return_counts=True)[1]

        assert merged.will_repeat
        assert merged.weight is None
        assert merged.n_distinct == len(seen)
        assert len(merged.rows) >= 1_900
        assert len(set(seen.tolist())) == 1

    @pytest.mark.parametrize(
        "table",
        [
            [np.arange(40.0)],  # each once
            [times(np.linspace(0.0, 1.0, 40), 7)],
            [times(np.arange(100.0), 3)],  # of numbers new rows will lie between these
            [times(np.arange(30.0), 3), times(["a", "b", "c"], 30)],
            [times([f"2024-01-{i:02}" for i in range(1, 31)], 3)],
            [times([f"the {i}th sentence of many" for i in range(200)], 3)],
            [np.array([*["a"] * 5, *map(str, range(3))], dtype=object)],  # 3 of 8 are there once
        ],
    )
    def test_others_are_not(self, table: Columns) -> None:
        merged = by_content(table)

        assert not merged.will_repeat
        assert len(merged.rows) <= len(table[0])

    def test_numbers_may_be_declared_as_levels(self) -> None:
        codes = times(np.arange(100), 3)

        assert not by_content([codes]).will_repeat
        assert by_content([codes], levels=[0]).will_repeat

    def test_whole_numbers_count_and_others_only_compare(self) -> None:
        column = times(["A", "B", "C"], 1)

        assert by_content([column], weight=np.full(3, 100.0)).will_repeat
        assert not by_content([column], weight=np.full(3, 1.0)).will_repeat
        assert not by_content([column], weight=np.full(3, 100.5)).will_repeat

    def test_of_a_target_that_features_do_not_tell_each_stays_an_observation(self) -> None:
        x, y = times([f"level {i}" for i in range(80)], 10), np.arange(800) // 80 % 2
        merged = by_content([x], [y])
        of_many = by_content([times(["A", "B", "C"], 100)], [np.arange(300) % 2])

        assert merged.will_repeat
        assert merged.weight is None
        assert len(merged.rows) == 800
        assert len(of_many.rows) >= 1_900  # how often each comes is sure

    def test_very_many_are_bounded(self) -> None:
        x = np.repeat(np.arange(100), 2_000)
        merged = by_content([x], levels=[0])

        assert len(merged.rows) == repeats.MANY


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
            "import numpy as np\nfrom multilayer.table.merge_rows import row_hashes\n"
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
