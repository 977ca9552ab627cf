"""Letters one by one become what the text becomes, wherever it is not said that this is unknown."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer.export.onnx.letters import BREAK, UNKNOWN, is_unknown, letters

TABLES = letters()
MARKED = st.sampled_from([*TABLES.seconds, *TABLES.firsts, *TABLES.ends, *TABLES.begins, *TABLES.stacked])


def words_one_by_one(text):
    """Runs of letters, as a graph finds them."""
    codes = [code for letter in text for code in TABLES.becomes.get(letter, (BREAK,))]
    return "".join(" " if code <= 0 else chr(code - 1) for code in codes).split(" ")


def words(text):
    """Runs of letters, as `table.text` finds them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (each if unicodedata.category(each)[0] in "LMNS" else " " for each in folded)
    return "".join(kept).split(" ")


def without_empty(found):
    return [word for word in found if word]


@settings(max_examples=1_000, deadline=None)
@given(
    st.text(
        st.one_of(MARKED, MARKED, st.characters(codec="utf-8"), st.sampled_from("aeE ßİ한각")), max_size=6
    )
)
def test_known_texts_become_what_their_letters_become(text):
    if not is_unknown(text):
        assert without_empty(words_one_by_one(text)) == without_empty(words(text))


@pytest.mark.parametrize(
    "text",
    ["Straße", "½ £ … ﬁn № 5 ℃", "日本語の本", "ภาษาไทย", "हिन्दी कि ज़मीन", "한국어", "I İ ı", "ς Σ x\u0303y"],
)
def test_usual_texts_are_known(text):
    assert not is_unknown(text)
    assert without_empty(words_one_by_one(text)) == without_empty(words(text))


@pytest.mark.parametrize("text", ["e\u0301", "ﷺ", "\u1112\u1161\u11ab", "a\u0301\u0323", "é\u0323"])
def test_texts_that_unicode_puts_together_are_not(text):
    assert is_unknown(text)


def test_composed_text_is_known_but_for_several_marks_on_a_letter():
    for code in range(1, 0x2FFFF):
        letter = unicodedata.normalize("NFKC", chr(code)) if not 0xD800 <= code < 0xE000 else ""
        if len(letter) == 1 and TABLES.becomes.get(letter) != (UNKNOWN,):
            assert not is_unknown(unicodedata.normalize("NFKC", f"a{letter} {letter}"))
