from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.snapshots.telling import Trait, cut, marked, plain, shared_traits, shown_input, trait_text, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("usb cable", "usb cable"),
        ("usb\u200bcable", "usb\\u200bcable"),
        ("a\u200db\u200cc", "a\\u200db\\u200cc"),
        ("\ufeffx", "\\ufeffx"),
        ("10\u00a0kg", "10\\xa0kg"),
        ("a\tb\nc\x00\x1b\x7f", "a\\tb\\nc\\x00\\x1b\\x7f"),
        ("a\u2028b", "a\\u2028b"),
        ("\u202eabc", "\\u202eabc"),
        ("head\u00adphones", "head\\xadphones"),
        ("\u2764\ufe0f", "\u2764\\ufe0f"),
        ("a\u034fb\u3164c", "a\\u034fb\\u3164c"),
        ("\ud800", "\\ud800"),
        ("\ue000\U0010ffff", "\\ue000\\U0010ffff"),
        ("— “é” ⚡ 한 \u05de", "— “é” ⚡ 한 \u05de"),
    ],
)
def test_nothing_is_invisible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_visible_text_is_printable_and_stays_as_it_is(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("before", "after", "one", "two"),
    [
        ("usb — cable", "usb cable", "usb[- —-] cable", "usb cable"),
        ("usb cable", "usb cables", "usb cable", "usb cable{+s+}"),
        ("", "a", "", "{+a+}"),
        ("abc", "aXc", "a[-b-]c", "a{+X+}c"),
        ("a\u200bb", "a\u200cb", "a[-\\u200b-]b", "a{+\\u200c+}b"),
        ("a\u200bb", "ab", "a[-\\u200b-]b", "ab"),
        ("x" * 40 + "a", "x" * 40 + "b", "x" * 12 + "…" + "x" * 12 + "[-a-]", "x" * 12 + "…" + "x" * 12 + "{+b+}"),
        (["usb", "—", "cable"], ["usb", "cable"], "usb [-—-] cable", "usb cable"),
        (["usb—cable"], ["usb", "cable"], "[-usb—cable-]", "{+usb cable+}"),
        (list("abcdefghij"), list("abcdefghiX"), "a b c … g h i [-j-]", "a b c … g h i {+X+}"),
        (1.5, 2.5, "1.5", "2.5"),
        (3, None, "3", "null"),
        (True, 1, "true", "1"),
        ("1", 1, '"1"', "1"),
        (1.000002, 1.000004, "1.000002", "1.000004"),
        ([1.000002, 5], [1.000004, 5], "[-1.000002-] 5", "{+1.000004+} 5"),
        ({"float": "nan"}, 0.0, "nan", "0"),
        ({"raises": "KeyError", "message": "'a'"}, "x", "raises KeyError: 'a'", "x"),
        ({"raises": "KeyError", "message": ""}, 1, "raises KeyError", "1"),
        ({"dict": {"a": 1, "b": "xy"}}, {"dict": {"a": 1, "b": "xz"}}, "b x[-y-]", "b x{+z+}"),
        ({"dict": {"a": True, "b": 1}}, {"dict": {"a": 1, "b": 1}}, "a true", "a 1"),
        ({"dict": {"a": 1}}, {"dict": {"a": 1, "b": 2}}, "b null", "b 2"),
    ],
)
def test_exactly_the_changed_stretch_is_marked(before: Any, after: Any, one: str, two: str) -> None:
    assert marked(before, after) == (one, two)


def unmarked(side: str, opening: str, closing: str) -> str:
    return side.replace(opening, "").replace(closing, "")


@given(before=st.text("abc —", max_size=12), after=st.text("abc —", max_size=12))
def test_without_its_marks_each_side_is_what_it_was(before: str, after: str) -> None:
    one, two = marked(before, after)
    assert unmarked(one, "[-", "-]") == before
    assert unmarked(two, "{+", "+}") == after
    assert ("[-" in one or "{+" in two) is (before != after)


@given(before=st.lists(st.floats(0, 10), max_size=4), after=st.lists(st.floats(0, 10), max_size=4))
def test_lists_that_differ_are_shown_to_differ(before: list[float], after: list[float]) -> None:
    one, two = marked(before, after)
    assert before == after or "[-" in one or "{+" in two


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1 + 0.2, "0.3"),
        (1e300, "1e+300"),
        (None, "null"),
        ({"time": "2024-01-01T00:00:00"}, "2024-01-01T00:00:00"),
        (["a", 1, 2.0, None], "[a 1 2 null]"),
        ({"dict": {"a": "é"}}, '{"dict": {"a": "é"}}'),
    ],
)
def test_values_in_few_characters(value: Any, shown: str) -> None:
    assert plain(value) == shown


def test_an_input_is_shown_on_one_line_and_cut() -> None:
    assert shown_input(["a\nb", None, 2.5]) == "a\\nb │ null │ 2.5"
    assert shown_input(["x" * 500], 10) == "xxxxxxxxx…"
    assert cut("x" * 10, 10) == "x" * 10


# --- what the changed inputs share


WORDS = ["cable", "phone", "case", "lamp", "desk", "charger", "white", "black", "mouse", "stand"]


def texts(count: int, seed: int, shape: str = "{}") -> list[str]:
    rng = random.Random(seed)
    return [shape.format(" ".join(rng.choices(WORDS, k=4))) for _ in range(count)]


def test_the_quote_that_all_changed_texts_have_is_found() -> None:
    changed = [text.replace("a", "a”", 1) if row % 2 else text for row, text in enumerate(texts(10, 1, "“{}"))]
    assert shared_traits(changed, texts(200, 2)) == [Trait("“", 10, 0)]


def test_a_capital_letter_is_found_where_no_single_character_explains() -> None:
    changed = [f"{letter}{text}" for letter, text in zip("ABCDEFGHIJ", texts(10, 3), strict=True)]
    assert shared_traits(changed, texts(200, 4)) == [Trait("a capital letter", 10, 0)]


@pytest.mark.parametrize(
    ("changed", "unchanged", "names"),
    [
        (["caf\u00e9", "na\u00efve", "\u00fcber"], ["cafe", "naive"], ["a letter beyond ASCII"]),
        (["a1", "b2", "c3"], ["a", "b"], ["a digit"]),
        (["a!", "b?", "c;"], ["a", "b"], ["punctuation"]),
        (["a—b"] * 6 + ["a\u200bb"] * 4, ["a b"] * 50, ["—", "\u200b"]),
        (["a—b"] * 4 + ["a\u200bb"] * 6, ["a b"] * 50, ["\u200b", "—"]),
        (["a—b"] * 10, ["c—d"] * 50, []),  # as frequent where nothing changed
        (["a—b"] * 10, [], ["—"]),
        (["plain", "words"], ["other", "words"], []),
        ([], ["a"], []),
        ([""], [""], []),
    ],
)
def test_what_changed_inputs_share(changed: list[str], unchanged: list[str], names: list[str]) -> None:
    found = shared_traits(changed, unchanged)
    assert [trait.name for trait in found if not trait.name.isascii() or len(trait.name) > 1] == names


@given(changed=st.lists(st.text(max_size=8), max_size=12), unchanged=st.lists(st.text(max_size=8), max_size=12))
def test_shared_traits_are_few_and_counted_truly(changed: list[str], unchanged: list[str]) -> None:
    found = shared_traits(changed, unchanged)
    assert len(found) <= 4
    assert len({trait.name for trait in found}) == len(found)
    for trait in found:
        assert 0 < trait.changed <= len(changed)
        if len(trait.name) == 1:
            assert trait.changed == sum(trait.name in text for text in changed)
            assert trait.unchanged == sum(trait.name in text for text in unchanged)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("“", "“ (U+201C left double quotation mark)"),
        ("\u200b", "\\u200b (U+200B zero width space)"),
        ("\x00", "\\x00 (U+0000)"),
        ("a digit", "a digit"),
    ],
)
def test_a_trait_is_named(name: str, text: str) -> None:
    assert trait_text(Trait(name, 1, 0)) == text
