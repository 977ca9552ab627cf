import itertools
import unicodedata

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import multilayer as ml
from multilayer.table import text as module
from multilayer.table.schema import infer_schema
from multilayer.table.text import SIZES, TextVectors, n_words, why_text

MEALS = [f"{meal} {verb} {taste}" for meal in ("soup", "fish", "rice") for verb in ("was", "is")
         for taste in ("good", "bad", "cold", "salty and cold")]  # fmt: skip


def terms_by_definition(text):
    """Words, pairs of neighbouring words, pieces of words with a space around each word."""
    letters = [c if unicodedata.category(c)[0] in "LMNS" else " " for c in text]
    words = "".join(letters).split()
    terms = [("word", word) for word in words]
    terms += [("pair", pair) for pair in itertools.pairwise(words)]
    line = "".join(f" {word}" for word in words) + " "
    for size in SIZES:
        pieces = (line[i : i + size] for i in range(len(line) - size + 1))
        terms += [("piece", piece) for piece in pieces if " " not in piece[1:-1]]
    return words, terms


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab é,.🙂京\u0301", max_size=30), min_size=1, max_size=6))
def test_terms_are_those_of_the_definition(texts):
    rows, hashes, sizes = module._taken_apart(texts)
    expected = [terms_by_definition(text) for text in texts]
    assert sizes.tolist() == [len(words) for words, _ in expected]
    hash_of = {}
    for i, (_, terms) in enumerate(expected):
        found = sorted(hashes[rows == i].tolist())
        assert len(found) == len(terms)
        alone = {}
        for term in set(terms):
            if term not in hash_of:
                hash_of[term] = hash_alone(term)
            alone[term] = hash_of[term]
        assert sorted(alone[term] for term in terms) == found


def hash_alone(term):
    """The hash of a term by its definition: a polynomial in the letters, then mixed."""
    what, text = term
    mask, mix, base = (1 << 64) - 1, int(module._MIX), module._BASE

    def letter(c):
        return 0 if c == " " else (ord(c) + 1) * mix & mask

    def ascending(word):
        return sum(letter(c) * pow(base, i, 1 << 64) for i, c in enumerate(word)) & mask

    if what == "word":
        value = ascending(text)
    elif what == "pair":
        value = ((ascending(text[0]) * mix + ascending(text[1])) & mask) ^ 1
    else:
        n = len(text)
        value = sum(letter(c) * pow(base, n - 1 - i, 1 << 64) for i, c in enumerate(text)) & mask ^ n
    mixed = (value ^ (value >> 31)) * mix & mask
    mixed = (mixed ^ (mixed >> 29)) * base & mask
    return (mixed >> (64 - module._BITS)) + ((1 << module._BITS) if what == "piece" else 0)


def test_a_row_does_not_depend_on_its_neighbours_nor_on_batches(monkeypatch):
    vectors = TextVectors.fit(MEALS, 5)
    together = vectors.transform(MEALS)
    assert np.array_equal(np.vstack([vectors.transform([text]) for text in MEALS]), together)
    monkeypatch.setattr(module, "_BATCH", 40)
    assert np.array_equal(vectors.transform(MEALS), together)
    again = TextVectors.fit(MEALS, 5)
    assert np.allclose(again.transform(MEALS), together, atol=1e-5)


def test_fitting_twice_gives_the_same_bits():
    one, two = TextVectors.fit(MEALS, 5), TextVectors.fit(MEALS, 5)
    for name, array in one.arrays().items():
        assert np.array_equal(array, two.arrays()[name])


def test_numbers_have_mean_0_and_deviation_1_over_the_training_texts():
    numbers = TextVectors.fit(MEALS, 5).transform(MEALS)
    assert np.allclose(numbers.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(numbers.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Soup was GOOD", "soup, was good!"),
        ("caf\u00e9 is bad", "cafe\u0301 is bad"),
        ("ｓｏｕｐ is cold", "soup is cold"),
    ],
)
def test_case_punctuation_and_forms_of_unicode_do_not_count(one, other):
    vectors = TextVectors.fit([*MEALS, "caf\u00e9 is good", "caf\u00e9 was bad"], 5)
    assert np.array_equal(vectors.transform([one]), vectors.transform([other]))


def test_texts_of_no_known_word_are_alike():
    vectors = TextVectors.fit(MEALS, 5)
    assert np.array_equal(vectors.transform([""]), vectors.transform(["?! ..."]))
    assert np.isfinite(vectors.transform(["", "zzz", "\ud800 lone"])).all()


def test_of_a_long_text_the_first_20_000_characters_are_read():
    vectors = TextVectors.fit(MEALS, 5)
    long = "soup is good " * 2_000
    assert np.array_equal(vectors.transform([long]), vectors.transform([long[:20_000] + " cold"]))


@pytest.mark.parametrize("texts", [["one two three"], ["a b c", "d e f"], ["", " "], ["!", "?"]])
def test_texts_that_share_no_term_have_their_length_alone(texts):
    assert TextVectors.fit(texts, 5).transform(["one two", ""]).shape == (2, 1)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"room {i} was clean and quiet" for i in range(30)], "text"),
        ([f"部屋{i}はとても静かできれいでした" for i in range(30)], "text"),
        ([f"room {i} was clean and quiet" for i in range(12)], "category"),  # few
        ([f"kind {i % 5} of a house" for i in range(60)], "category"),  # repeated
        ([f"Juan{i} Lopez" for i in range(30)], "category"),  # two words
        ([f"id-{i}" for i in range(30)], "category"),
        ([f"{i}.5" for i in range(30)], "number"),
    ],
)
def test_free_text_has_several_words_and_is_mostly_distinct(values, kind):
    column = infer_schema({"t": values, "z": list(range(len(values)))})["t"]
    assert column.kind == kind
    assert (column.reason is not None) == (kind == "text")


def test_words_are_counted_in_any_script():
    assert [n_words(text) for text in ("", "don't", "Привет мир", "สวัสดีครับ", "a  b")] == [0, 2, 2, 5, 2]
    assert why_text([], 0) is None


NEUTRAL = [
    "room",
    "hotel",
    "staff",
    "breakfast",
    "street",
    "floor",
    "window",
    "night",
    "bed",
    "garden",
    "city",
]
GOOD = ["lovely", "great", "friendly", "superb", "charming", "wonderful"]
BAD = ["dirty", "noisy", "rude", "broken", "awful", "terrible"]


def reviews(rng, is_good):
    """Texts of neutral words and two that tell; the order of the words tells nothing."""
    texts = []
    for good in is_good:
        words = [*rng.choice(NEUTRAL, 7), *rng.choice(GOOD if good else BAD, 2)]
        texts.append(" ".join(rng.permutation(words)))
    return texts


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_learns_which_words_make_the_class(make):
    rng = np.random.default_rng(0)
    is_good = rng.random(400) < 0.5
    columns = {"review": reviews(rng, is_good), "noise": rng.normal(size=400).tolist()}
    columns["label"] = ["good" if good else "bad" for good in is_good]
    known = {name: values[:300] for name, values in columns.items()}
    model = ml.fit(make(known), target="label", members=1, epochs=8, hidden=16)
    assert model.schema["review"].kind == "text"
    assert "'review' is read as text (" in " ".join(model.summary["decisions"])
    held = {name: values[300:] for name, values in columns.items()}
    assert model.evaluate(make(held))["roc_auc"] > 0.9
    model.save("m.mlp")
    assert np.array_equal(ml.Model.load("m.mlp").predict_proba(make(held)), model.predict_proba(make(held)))
    odd = make({"review": [None, "", "UNKNOWN \u2603 words"], "noise": [0.0, 0.0, 0.0]})
    assert np.isfinite(model.predict_proba(odd)).all()


def test_learns_from_several_columns_of_text():
    rng = np.random.default_rng(1)
    tells = {name: rng.random(500) < 0.5 for name in ("title", "body", "other")}
    columns = {name: reviews(rng, good) for name, good in tells.items()}
    columns["score"] = (2.0 * tells["title"] + 1.0 * tells["body"]).tolist()  # other tells nothing
    known = {name: values[:400] for name, values in columns.items()}
    model = ml.fit(known, target="score", task="regression", members=1, epochs=10, hidden=16)
    assert {column.kind for column in model.schema.columns} == {"text"}
    assert model.evaluate({name: values[400:] for name, values in columns.items()})["r2"] > 0.7


@pytest.mark.parametrize("width", [1, 2, 48])
def test_scipy_adds_up_as_numpy_does(width):
    rng = np.random.default_rng(width)
    words = ["".join(rng.choice(list("abcdefghij"), 4)) for _ in range(200)]
    texts = ["", *(" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(300))]
    vectors = TextVectors.fit(texts, width)
    ((*weighted, _),) = vectors._weighted(texts)
    by_scipy = vectors._matrix(*weighted) @ vectors.projection
    assert vectors._projected(*weighted).tobytes() == by_scipy.tobytes()
    many = vectors.transform(texts * (module.MANY_TEXTS // 300 + 1))
    assert many[: len(texts)].tobytes() == vectors.transform(texts).tobytes()
