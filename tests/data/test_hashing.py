from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.hashing import combined, hash_array, hash_rows

# Profiles and holdouts in stores hold such hashes, so they must never change.
KNOWN = {
    "": 0x9A63C6065BD325C1,
    "a": 0x2DA1F171A0367E61,
    "user-1": 0x01B474BB6E012CE4,
    "12345678": 0x7DE3AF9D90DBA376,
    "0f8fad5b-d9cb-469f-a165-70867728950e": 0xEFE07DA5E21F667A,
    "é–日本" * 5: 0xA06D023BC3472C7E,
}


@pytest.mark.parametrize(("text", "expected"), KNOWN.items())
def test_known_text_has_its_known_hash(text: str, expected: int) -> None:
    for kind in (pa.string(), pa.large_string(), pa.binary()):
        assert int(hash_array(pa.array([text]).cast(kind))[0]) == expected


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(0, 30))
def test_a_hash_does_not_depend_on_what_stands_beside_it(texts: list[str], begin: int) -> None:
    """Values of one length are hashed by another path than values of many lengths."""
    together = hash_array(pa.array(texts, pa.string()).slice(begin))
    assert together.tolist() == [int(hash_array(pa.array([text]))[0]) for text in texts[begin:]]


@given(st.integers(0, 40), st.integers(1, 20))
def test_values_of_one_length_hash_as_they_do_alone(length: int, count: int) -> None:
    texts = [chr(ord("a") + k) * length for k in range(count)]
    assert hash_array(pa.array(texts)).tolist() == [int(hash_array(pa.array([text]))[0]) for text in texts]


def test_rows_are_their_columns_combined_in_order() -> None:
    batch = pa.record_batch({"a": ["x", "y"], "b": ["y", "x"]})
    a, b = hash_array(batch.column("a")), hash_array(batch.column("b"))
    assert hash_rows(batch, ["a", "b"]).tolist() == combined(a, b).tolist()
    assert combined(a, b)[0] != combined(b, a)[0]
