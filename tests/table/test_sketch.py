"""`Sketch`: how many rows are among those that it was made of, without any row."""

import json

import numpy as np
import pytest

from multilayer.table.sketch import SIZE, Sketch


def rows(start: int, stop: int) -> list[np.ndarray]:
    return [np.arange(start, stop) * 0.5, np.arange(start, stop) % 3]


def test_of_few_rows_all_are_known() -> None:
    sketch = Sketch.of(rows(0, 1_000))

    assert sketch.among(rows(900, 1_200)) == (300, 100)
    assert sketch.share(300, 100) == pytest.approx(1 / 3)


@pytest.mark.parametrize("shared", [0, 30_000, 100_000])
def test_of_many_rows_the_share_is_estimated_from_a_sample(shared: int) -> None:
    sketch = Sketch.of(rows(0, 100_000))
    asked, found = sketch.among(rows(100_000 - shared, 200_000 - shared))

    assert len(sketch.hashes) == SIZE
    assert 0.9 * SIZE < asked < 1.1 * SIZE
    assert sketch.share(asked, found) == pytest.approx(shared / 100_000, abs=0.03)


def test_of_a_part_of_the_rows_the_rest_is_counted_in() -> None:
    sketch = Sketch.of(rows(0, 500), part=0.25)

    assert sketch.share(*sketch.among(rows(0, 2_000))) == 1.0


def test_too_few_rows_to_look_up_tell_nothing() -> None:
    assert np.isnan(Sketch.of(rows(0, 100_000)).share(3, 3))
    assert np.isnan(Sketch.of(rows(0, 10)).share(0, 0))
    assert Sketch.of(rows(0, 10)).share(3, 3) == 1.0


def test_goes_through_json() -> None:
    sketch = Sketch.of(rows(0, 100), part=0.5, repeats=0.25)
    again = Sketch.from_json(json.loads(json.dumps(sketch.to_json())))

    assert again is not None
    assert again.hashes.tolist() == sketch.hashes.tolist()
    assert (again.limit, again.part, again.repeats) == (sketch.limit, 0.5, 0.25)


@pytest.mark.parametrize(
    "change",
    [
        {"hashes": "!"},
        {"hashes": "AAA="},
        {"hashes": 3},
        {"limit": -1},
        {"limit": None},
        {"part": 0},
        {"repeats": 2},
    ],
)
def test_what_is_none_is_none(change: dict) -> None:
    assert Sketch.from_json(Sketch.of(rows(0, 100)).to_json() | change) is None
    assert Sketch.from_json(None) is None
