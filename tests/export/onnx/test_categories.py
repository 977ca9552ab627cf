"""Levels are found in every writing that the library finds them in."""

from itertools import product

import numpy as np

from multilayer.export.onnx.categories import MOST_DECIMALS, table_of
from multilayer.table.cells import Cells
from multilayer.table.steps import Code


def by_library(code, texts):
    cells = Cells.of_texts(np.array(texts, object))
    return code.run(cells.values, cells)[cells.rows].tolist()


def test_other_writings_have_the_code_of_the_library():
    code = Code(("true", "3", "-1.50", "007", "0", "1e3", "3.0", "x"))
    table = table_of(code)
    digits = ["".join(each) for n in range(MOST_DECIMALS + 1) for each in product("05", repeat=min(n, 4))]
    texts = [f"{whole}.{each}".rstrip(".") for whole in ("3", "-1", "0", "-0", "007") for each in digits]
    texts += ["TRUE", "tRue", "True ", "7", "1000", "3e0", "+3", "3.000000000", "X", "x"]
    assert [table.get(text, 1) for text in texts] == by_library(code, texts)


def test_missing_is_empty_text_and_half_a_letter_cannot_be_fed():
    assert table_of(Code(("a", "\ud800"))) == {"a": 2, "": 0}
