"""64-bit hashes of column values, computed on whole Arrow arrays. The same value has the same hash in every process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

NULL_HASH = np.uint64(0x9E3779B97F4A7C15)
_LENGTH = np.uint64(0xA0761D6478BD642F)
_WORD = np.uint64(0xE7037ED1A0B428DB)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD_BYTES = 8
_PIECE = 1 << 15
_BYTES = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)


def hash_array(array: pa.Array) -> Hashes:
    """Hashes of the values, shape (n,); every null has the same hash, and so has every NaN."""
    if pa.types.is_dictionary(array.type):
        return _hash_dictionary(array)
    if any(is_bytes(array.type) for is_bytes in _BYTES):
        hashes = _hash_bytes(array)
    elif pa.types.is_integer(array.type) or pa.types.is_temporal(array.type):
        hashes = _mix(_int64(array).view(np.uint64))
    elif pa.types.is_floating(array.type):
        hashes = _hash_floats(array)
    else:
        hashes = _hash_bytes(pa.array([repr(value) for value in array.to_pylist()], pa.string()))
    if array.null_count:
        hashes[as_numpy(array.is_null())] = NULL_HASH
    return hashes


def as_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """An Arrow array of numbers or booleans without nulls as numpy, (n,), without a copy of numbers.

    `to_numpy` does the same, but imports pandas where it is installed: a second and 50 MB for nothing.
    """
    if pa.types.is_boolean(array.type):
        return as_numpy(array.cast(pa.uint8())).view(np.bool_)
    primitive = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
    if array.null_count or not primitive:
        slow: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return slow
    buffer = array.buffers()[1]
    letter = "f" if pa.types.is_floating(array.type) else "u" if pa.types.is_unsigned_integer(array.type) else "i"
    kind = np.dtype(f"{letter}{array.type.bit_width // 8}")
    if buffer is None:
        return np.empty(0, kind)
    return np.frombuffer(buffer, kind, len(array), array.offset * kind.itemsize)


def hash_rows(batch: pa.RecordBatch, columns: list[str]) -> Hashes:
    """One hash per row over the values of `columns`, in their order."""
    hashes = hash_array(batch.column(columns[0]))
    for name in columns[1:]:
        hashes = combined(hashes, hash_array(batch.column(name)))
    return hashes


def combined(hashes: Hashes, others: Hashes) -> Hashes:
    """One hash of each pair of hashes; their order counts."""
    return _mix((hashes * _WORD) ^ others)


def _mix(values: Hashes) -> Hashes:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): a bijection that spreads every bit."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed


def _int64(array: pa.Array) -> npt.NDArray[np.int64]:
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.int32()).cast(pa.int64()) if array.type.bit_width == 32 else array.cast(pa.int64())
    filled = array.fill_null(0) if array.null_count else array
    values = as_numpy(filled)
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)


def _hash_floats(array: pa.Array) -> Hashes:
    values = as_numpy(array).astype(np.float64) + 0.0  # −0.0 becomes 0.0
    values[np.isnan(values)] = np.nan  # one bit pattern for every NaN
    return _mix(values.view(np.uint64))


def _hash_dictionary(array: pa.DictionaryArray) -> Hashes:
    hashes = hash_array(array.dictionary)
    codes = array.indices
    if codes.null_count:
        codes = codes.fill_null(len(hashes))
        hashes = np.append(hashes, NULL_HASH)
    found: Hashes = hashes[as_numpy(codes)]
    return found


def _hash_bytes(array: pa.Array) -> Hashes:
    """In pieces that stay in the processor's cache, which is twice as fast."""
    if len(array) <= _PIECE:
        return _hash_piece(array)
    return np.concatenate([_hash_piece(array.slice(begin, _PIECE)) for begin in range(0, len(array), _PIECE)])


def _hash_piece(array: pa.Array) -> Hashes:
    """Eight bytes at a time over all values at once."""
    starts, lengths, data = _layout(array)
    longest, shortest = (int(lengths.max()), int(lengths.min())) if len(lengths) else (0, 0)
    if longest == shortest >= _WORD_BYTES:
        return _hash_equal(data, len(lengths), longest)
    words = _words(data)
    hashes: Hashes = _mix(lengths.astype(np.uint64) * _LENGTH + _WORD)
    position = 0
    active: npt.NDArray[np.intp] | slice = slice(None)  # a slice while every value has bytes left
    while position < longest:
        if position >= shortest:
            active = np.flatnonzero(lengths > position)
        rest = lengths[active] - position
        word = words[starts[active] + position]
        if position + _WORD_BYTES > shortest:
            spare = np.maximum(_WORD_BYTES - rest, 0).astype(np.uint64) * np.uint64(8)  # bits of the next value
            word = (word << spare) >> spare
        hashes[active] = _mix((hashes[active] ^ word) * _WORD)
        position += _WORD_BYTES
    return hashes


def _hash_equal(data: npt.NDArray[np.uint8], count: int, length: int) -> Hashes:
    """The same for values of one length, such as UUIDs: they are read where they are, which is five times as fast."""
    hashes: Hashes = np.full(count, _mix(np.full(1, length, np.uint64) * _LENGTH + _WORD)[0])
    spare = np.empty_like(hashes)
    for position in range(0, length, _WORD_BYTES):
        begin = min(
            position, length - _WORD_BYTES
        )  # the last word ends with the value; what was read before is shifted out
        word = np.ndarray((count,), np.dtype("<u8"), data.data, begin, (length,))
        np.right_shift(word, np.uint64(8 * (position - begin)), out=spare)
        np.bitwise_xor(hashes, spare, out=hashes)
        np.multiply(hashes, _WORD, out=hashes)
        _mix_in_place(hashes, spare)
    return hashes


def _mix_in_place(values: Hashes, spare: Hashes) -> None:
    """`_mix` without new arrays."""
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        np.right_shift(values, np.uint64(shift), out=spare)
        np.bitwise_xor(values, spare, out=values)
        np.multiply(values, factor, out=values)
    np.right_shift(values, np.uint64(31), out=spare)
    np.bitwise_xor(values, spare, out=values)


def _layout(array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Start and length of every value, and the bytes of them all, without a copy of those."""
    _, offset_buffer, data_buffer = array.buffers()
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    count = len(array) + 1
    width = np.int64 if wide else np.int32
    offsets = np.frombuffer(offset_buffer, width)[array.offset : array.offset + count].astype(np.int64)
    data = np.empty(0, np.uint8)
    if offsets[-1] > offsets[0]:
        data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    return offsets[:-1] - offsets[0], np.diff(offsets), data


def _words(data: npt.NDArray[np.uint8]) -> Hashes:
    """The eight bytes that begin at each byte of the data, and at its end."""
    padded = np.zeros(len(data) + _WORD_BYTES, np.uint8)
    padded[: len(data)] = data
    return np.ndarray((len(data) + 1,), np.dtype("<u8"), padded.data, strides=(1,))
