"""A difference as people read it: before and after with the difference marked, and what the changed inputs share. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from holdfast.snapshots.comparing import named

ROOM = 72  # characters of one side of a difference
# Joiners, fillers and variation selectors: letters or marks by category, yet nothing is drawn for them.
_SHAPELESS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_KEPT = 3  # unchanged items or some 12 characters on each side of a change


@dataclass(frozen=True)
class Trait:
    """Something that inputs have in common: how many of the changed and of the unchanged ones have it."""

    name: str
    changed: int
    unchanged: int


def visible(text: str) -> str:
    """Text in which nothing is invisible: marks without a shape of their own as escapes."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    hidden = (unicodedata.category(character)[0] in "CZ" and character != " ") or _SHAPELESS.fullmatch(character)
    return character.encode("unicode_escape").decode() if hidden else character


def shown_input(values: Sequence[Any], limit: int = ROOM) -> str:
    """An input for reading; long ones cut."""
    return cut(" │ ".join("null" if value is None else visible(str(value)) for value in values), limit)


def cut(text: str, limit: int = ROOM) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def marked(before: Any, after: Any) -> tuple[str, str]:
    """Both sides, what is gone as `[-so-]` and what is new as `{+so+}`; of several outputs only those that differ.

    A number that became another one needs no marks.
    """
    if named(before) and named(after):
        return _marked_by_name(before["dict"], after["dict"])
    if isinstance(before, list) and isinstance(after, list):
        written = _telling_apart(before, after)
        return _marked_items([written(item) for item in before], [written(item) for item in after], " ")
    if isinstance(before, str) and isinstance(after, str):
        return _marked_items([_visible(c) for c in before], [_visible(c) for c in after], "")
    written = _telling_apart(before, after)
    return cut(written(before)), cut(written(after))


def _telling_apart(before: Any, after: Any) -> Callable[[Any], str]:
    """Few characters a value, or all its digits and its type where these are the difference."""
    return plain if plain(before) != plain(after) else _exactly


def _exactly(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False, sort_keys=True))


def _marked_by_name(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, str]:
    one, two = [], []
    for name in sorted(before.keys() | after.keys()):
        if _exactly(before.get(name)) != _exactly(after.get(name)) or (name in before) != (name in after):
            gone, new = marked(before.get(name), after.get(name))
            one.append(f"{name} {gone}")
            two.append(f"{name} {new}")
    return cut(", ".join(one), 2 * ROOM), cut(", ".join(two), 2 * ROOM)


def plain(value: Any) -> str:
    """An encoded output in few characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        if "raises" in value:
            return f"raises {value['raises']}: {value.get('message', '')}".rstrip(": ")
        if len(value) == 1 and not named(value):
            return str(next(iter(value.values())))
    if isinstance(value, list):
        return "[" + " ".join(plain(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _marked_items(before: list[str], after: list[str], glue: str) -> tuple[str, str]:
    """The changed stretches in their surroundings."""
    one: list[str] = []
    two: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            stretch = _shortened(before[a:b], glue)
            one.append(stretch)
            two.append(stretch)
        else:
            one.append(f"[-{glue.join(before[a:b])}-]" if b > a else "")
            two.append(f"{{+{glue.join(after[c:d])}+}}" if d > c else "")
    return cut(glue.join(filter(None, one)), 2 * ROOM), cut(glue.join(filter(None, two)), 2 * ROOM)


def _shortened(items: list[str], glue: str) -> str:
    kept = _KEPT if glue else 12
    if len(items) <= 2 * kept + 1:
        return glue.join(items)
    return glue.join([*items[:kept], "…", *items[-kept:]])


# --- what the changed inputs share ----------------------------------------------------------------------------------

_CLASSES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("a capital letter", lambda c: c.isupper()),
    ("punctuation", lambda c: c.isascii() and unicodedata.category(c)[0] in "PS"),
    ("a digit", lambda c: c.isdigit()),
    ("a letter beyond ASCII", lambda c: not c.isascii() and c.isalpha()),
)


def shared_traits(changed: Sequence[str], unchanged: Sequence[str], limit: int = 4) -> list[Trait]:
    """Characters, else kinds of characters, that most of the changed inputs have and few of the unchanged.

    Greedy: the trait that tells the two apart best, then the one that does so among the changed inputs that are left.
    """
    have = [_traits(text) for text in changed]
    others = Counter(trait for text in unchanged for trait in _traits(text))
    found: list[Trait] = []
    left = have
    while left and len(found) < limit:
        counts = Counter(trait for traits in left for trait in traits)
        trait, count = max(counts.items(), key=lambda item: _tells(item, others, unchanged), default=("", 0))
        share, beside = count / len(left), others[trait] / max(1, len(unchanged))
        if not count or share < 2 * beside or (found and count < max(2, len(have) // 20)):
            break
        found.append(Trait(trait, sum(trait in traits for traits in have), others[trait]))
        left = [traits for traits in left if trait not in traits]
    return found


def _tells(item: tuple[str, int], others: Counter[str], unchanged: Sequence[str]) -> tuple[float, bool, str]:
    trait, count = item
    return count * (1 - others[trait] / max(1, len(unchanged))), len(trait) == 1, trait


def _traits(text: str) -> set[str]:
    traits = {c for c in text if not (c.isascii() and (c.isalnum() or c == " "))}
    return traits | {name for name, belongs in _CLASSES if any(map(belongs, text))}


def trait_text(trait: Trait) -> str:
    """`“ (U+201C left double quotation mark)`; kinds of characters as they are called."""
    if len(trait.name) > 1:
        return trait.name
    name = unicodedata.name(trait.name, "")
    return f"{visible(trait.name)} (U+{ord(trait.name):04X}{' ' + name.lower() if name else ''})"
