"""Segments: torn anywhere, damaged anywhere, written by several processes at once; no whole frame is ever lost."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.serving.log import frames
from holdfast.serving.log.claims import Claim
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.log.segments import (
    OPEN,
    SEALED,
    count_records,
    damaged,
    place,
    read_payloads,
    repair,
    seal_orphans,
    sealed,
    segment_id,
    unsealed,
)

STREAM = "predictions"
Groups = list[list[bytes]]
groups = st.lists(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), min_size=1, max_size=6)
quick = settings(max_examples=40, deadline=None)


def written(folder: Path, given_groups: Groups, **options: float) -> SegmentWriter:
    """A writer that has written the groups, a frame each, its segment still open."""
    writer = SegmentWriter(folder, STREAM, "r", durable=False, **options)
    for group in given_groups:
        writer.append(group)
    return writer


def abandoned(folder: Path, given_groups: Groups) -> Path:
    """An open segment as a killed process leaves it."""
    writer = written(folder, given_groups)
    os.close(writer._handle)
    writer._claim.release()
    return writer._path


def everything(folder: Path) -> list[bytes]:
    return [payload for path in sealed(folder, STREAM) for payload in read_payloads(path)[0]]


@contextmanager
def a_folder() -> Iterator[Path]:
    """A new folder for each example of hypothesis."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def ends(given_groups: Groups) -> list[int]:
    """The offsets behind each group."""
    at, found = frames.HEADER_BYTES, []
    for group in given_groups:
        at += frames.FRAME_BYTES + sum(frames.LENGTH_BYTES + len(record) for record in group)
        found.append(at)
    return found


def without(given_groups: Groups, place_of: int) -> list[bytes]:
    """All records but those of the group that has the byte `place_of` of the file."""
    return joined(
        group
        for group, begin, end in zip(given_groups, [0, *ends(given_groups)], ends(given_groups), strict=False)
        if not begin <= place_of < end
    )


def joined(given_groups: Iterable[list[bytes]]) -> list[bytes]:
    return [record for group in given_groups for record in group]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given_groups = [[b"one", b"two"], [b"\0" * 100], [b"three" * 1000]]
    writer = written(tmp_path, given_groups)
    (path,) = unsealed(tmp_path, STREAM)
    found, end = read_payloads(path)
    assert (list(found), end) == (joined(given_groups), ends(given_groups)[-1])
    assert count_records(path) == (4, end)
    writer.close()
    (path,) = sealed(tmp_path, STREAM)
    assert unsealed(tmp_path, STREAM) == []
    assert place(path)[0] == "r"
    assert everything(tmp_path) == joined(given_groups)


def test_an_open_segment_is_read_as_it_grows_and_after_it_was_sealed(tmp_path: Path) -> None:
    writer = written(tmp_path, [[b"one"]])
    (path,) = unsealed(tmp_path, STREAM)
    first, offset = read_payloads(path)
    assert [*read_payloads(path, offset)[0]] == [] and read_payloads(path, offset)[1] == offset
    writer.append([b"two", b"three"])
    writer.close()
    assert not path.exists()
    second, end = read_payloads(path, offset)
    assert ([*first], [*second]) == ([b"one"], [b"two", b"three"])
    assert count_records(path, offset) == (2, end)


@quick
@given(groups, st.integers(1, 120))
def test_it_is_read_in_pieces_of_any_size(given_groups: Groups, most: int) -> None:
    with a_folder() as folder:
        written(folder, given_groups).close()
        (path,) = sealed(folder, STREAM)
        found: list[bytes] = []
        offset = 0
        while True:
            piece, end = read_payloads(path, offset, most=most)
            if not piece:
                break
            found, offset = [*found, *piece], end
        assert found == joined(given_groups)
        assert offset == path.stat().st_size


@quick
@given(groups, st.data())
def test_a_tail_torn_anywhere_loses_no_whole_group(given_groups: Groups, data: st.DataObject) -> None:
    with a_folder() as folder:
        path = abandoned(folder, given_groups)
        cut = data.draw(st.integers(0, path.stat().st_size))
        zeros = data.draw(st.sampled_from([0, 1, 7, 512]))  # a file system may have given the file its size already
        os.truncate(path, cut)
        os.truncate(path, cut + zeros if cut in (0, *ends(given_groups)) else cut)
        whole = joined(group for group, end in zip(given_groups, ends(given_groups), strict=True) if end <= cut)
        after = SegmentWriter(folder, STREAM, "r", durable=False)
        after.append([b"goes on"])
        after.close()
        assert everything(folder) == [*whole, b"goes on"]
        assert damaged(folder, STREAM) == []


@quick
@given(groups, st.data())
def test_a_flipped_bit_costs_one_group_and_is_told(given_groups: Groups, data: st.DataObject) -> None:
    with a_folder() as folder:
        written(folder, given_groups).close()
        (path,) = sealed(folder, STREAM)
        content = bytearray(path.read_bytes())
        place_of = data.draw(st.integers(0, len(content) - 1))
        content[place_of] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        try:
            found = everything(folder)
        except Damaged:
            assert place_of == 7  # the version
            return
        is_in_header = place_of < frames.HEADER_BYTES
        expected = joined(given_groups) if is_in_header else without(given_groups, place_of)
        assert found == expected
        (aside,) = damaged(folder, STREAM)
        begin = int(aside.stem.rpartition("-")[2])
        assert aside.read_bytes() == bytes(content[begin : begin + aside.stat().st_size])
        assert begin <= place_of < begin + aside.stat().st_size
        assert everything(folder) == expected  # and reading again keeps nothing twice
        assert damaged(folder, STREAM) == [aside]


@quick
@given(groups, st.integers(1, 120), st.data())
def test_damage_is_the_same_read_in_pieces(given_groups: Groups, most: int, data: st.DataObject) -> None:
    with a_folder() as folder:
        written(folder, given_groups).close()
        (path,) = sealed(folder, STREAM)
        content = bytearray(path.read_bytes())
        for hit in data.draw(st.lists(st.integers(frames.HEADER_BYTES, len(content) - 1), min_size=1, max_size=4)):
            content[hit] ^= 1
        path.write_bytes(content)
        found, offset = [*(piece := read_payloads(path, most=most))[0]], piece[1]
        while len((piece := read_payloads(path, offset, most=most))[0]):
            found, offset = [*found, *piece[0]], piece[1]
        kept = [(aside.name, aside.read_bytes()) for aside in damaged(folder, STREAM)]
        assert found == everything(folder)
        assert kept == [(aside.name, aside.read_bytes()) for aside in damaged(folder, STREAM)]


@quick
@given(groups.filter(lambda found: len(found) > 1), st.data())
def test_damage_in_what_a_crash_left_is_kept_too(given_groups: Groups, data: st.DataObject) -> None:
    with a_folder() as folder:
        path = abandoned(folder, given_groups)
        content = bytearray(path.read_bytes())
        hit = data.draw(st.integers(frames.HEADER_BYTES, ends(given_groups)[-2] - 1))
        content[hit] ^= 0x10
        path.write_bytes(content + b"\0" * data.draw(st.sampled_from([0, 300])))
        seal_orphans(folder, STREAM)
        assert everything(folder) == without(given_groups, hit)
        assert len(damaged(folder, STREAM)) == 1
        assert unsealed(folder, STREAM) == []


def test_a_record_that_looks_like_frames_brings_no_frames(tmp_path: Path) -> None:
    """A client that knows the format cannot smuggle records into what is left of a damaged one."""
    hostile = frames.framed([b"smuggled"], b"HOLD") + frames.framed([b"again"], b"\0\0\0\0")
    written(tmp_path, [[hostile], [b"after"]]).close()
    (path,) = sealed(tmp_path, STREAM)
    content = bytearray(path.read_bytes())
    content[frames.HEADER_BYTES + 9] ^= 1  # the length of the hostile one's frame
    path.write_bytes(content)
    assert everything(tmp_path) == [b"after"]


def test_a_whole_frame_with_a_wrong_sum_at_the_end_is_kept_aside(tmp_path: Path) -> None:
    path = abandoned(tmp_path, [[b"one"], [b"two"]])
    content = bytearray(path.read_bytes())
    first, second = ends([[b"one"], [b"two"]])
    content[second - 1] ^= 1
    path.write_bytes(content)
    repair(path)
    assert everything(tmp_path) == [b"one"]
    assert [aside.read_bytes() for aside in damaged(tmp_path, STREAM)] == [bytes(content[first:second])]


def test_a_frame_that_was_cut_off_in_reserved_room_is_torn(tmp_path: Path) -> None:
    """The disk has the beginning of a group, and zeros where the rest of it should be."""
    path = abandoned(tmp_path, [[b"one"], [b"two" * 100]])
    first, second = ends([[b"one"], [b"two" * 100]])
    content = bytearray(path.read_bytes())
    assert len(content) > 100_000, "room is reserved"
    content[second - 50 :] = bytes(len(content) - second + 50)
    path.write_bytes(content)
    assert (sealed_now := repair(path)) is not None
    assert sealed_now.stat().st_size == first
    assert (everything(tmp_path), damaged(tmp_path, STREAM)) == ([b"one"], [])


def test_a_large_group_is_several_frames_and_damage_costs_one_of_them(tmp_path: Path) -> None:
    records = [bytes([number % 250 + 1]) * 500 for number in range(1000)]
    records[300] = b"long" * frames.MOST
    written(tmp_path, [records]).close()
    assert everything(tmp_path) == records
    (path,) = sealed(tmp_path, STREAM)
    content = bytearray(path.read_bytes())
    for hit in (frames.HEADER_BYTES + 100_000, len(content) - 1):
        content[hit] ^= 1
    path.write_bytes(content)
    found = everything(tmp_path)
    sizes = [len(aside.read_bytes()) for aside in damaged(tmp_path, STREAM)]
    assert len(sizes) == 2 and all(size <= frames.MOST + frames.FRAME_BYTES for size in sizes)
    assert records[300] in found and len(records) - len(found) <= sum(sizes) // 500


def test_frames_whose_lengths_cannot_be_are_refused(tmp_path: Path) -> None:
    """They have a right sum, so that no disk made them: nobody can say where their records begin."""
    body = (1).to_bytes(4, "little") + b"two"
    counted = (1).to_bytes(4, "little") + len(body).to_bytes(4, "little")
    check = frames.zlib.crc32(body, frames.zlib.crc32(counted)).to_bytes(4, "little")
    assert frames.framed([b"two"], b"mark") != b"mark" + counted + check + body
    with pytest.raises(Damaged, match="found another length"):
        frames.scan(b"mark" + counted + check + body, b"mark")


def test_a_file_without_one_record_goes_away(tmp_path: Path) -> None:
    path = abandoned(tmp_path, [[b"one"]])
    os.truncate(path, frames.HEADER_BYTES + 3)
    assert repair(path) is None
    assert list((tmp_path / STREAM).glob("*.*eg")) == []


def test_another_version_is_left_alone(tmp_path: Path) -> None:
    other = bytearray(frames.header(b"12345678"))
    other[7] = 3
    other[16:20] = frames.zlib.crc32(other[:16]).to_bytes(4, "little")
    path = tmp_path / STREAM / f"r-0000000000001{OPEN}"
    path.parent.mkdir()
    path.write_bytes(other + b"whatever")
    SegmentWriter(tmp_path, STREAM, "r").close()
    assert path.read_bytes() == other + b"whatever"
    with pytest.raises(Damaged, match=r"expected a segment of version 2, found version 3\."):
        read_payloads(path)


def test_damage_that_cannot_be_kept_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [[b"one"], [b"two"]]).close()
    (path,) = sealed(tmp_path, STREAM)
    content = bytearray(path.read_bytes())
    content[frames.HEADER_BYTES + frames.FRAME_BYTES] ^= 1
    path.write_bytes(content)
    (path.parent / "damaged").write_text("in the way")
    with pytest.raises(OutsideError, match="could not be kept"):
        read_payloads(path)


def test_rotation_by_size_and_by_age(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, STREAM, "r", durable=False, segment_bytes=100)
    for number in range(10):
        writer.append([b"x" * 30 + bytes([number])])
    assert len(sealed(tmp_path, STREAM)) == 4
    writer.segment_seconds = 0
    writer.rotate_if_due()
    writer.rotate_if_due()
    assert unsealed(tmp_path, STREAM) == []
    assert [payload[-1] for payload in everything(tmp_path)] == list(range(10))
    assert len({segment_id(path) for path in sealed(tmp_path, STREAM)}) == 5
    writer.close()


def test_folders_and_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "log"
    writer = written(folder, [[b"one"]])
    assert (folder / STREAM).stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder / STREAM).iterdir())
    writer.close()


def test_a_second_writer_gets_a_name_of_its_own(tmp_path: Path) -> None:
    first, second = written(tmp_path, [[b"one"]]), written(tmp_path, [[b"two"]])
    assert (first.replica, second.replica) == ("r", "r-2")
    assert seal_orphans(tmp_path, STREAM) == []  # both live
    assert len(unsealed(tmp_path, STREAM)) == 2
    first.close()
    third = written(tmp_path, [[b"three"]])
    assert third.replica == "r"
    third.close()
    second.close()
    assert sorted(everything(tmp_path)) == [b"one", b"three", b"two"]


def test_no_number_is_given_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when everything was deleted and the clock was set back: others remember names."""
    claim = Claim.take(tmp_path, "r")
    first = claim.next_number()
    claim.release()
    monkeypatch.setattr("holdfast.serving.log.claims.time.time_ns", lambda: 0)
    claim = Claim.take(tmp_path, "r")
    assert [claim.next_number(), claim.next_number()] == [first + 1, first + 2]
    claim.release()


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "a b", "x" * 101])
def test_bad_names_of_replicas(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="replica's name"):
        SegmentWriter(tmp_path, STREAM, name)


def test_other_files_in_the_folder_are_not_ours(tmp_path: Path) -> None:
    writer = written(tmp_path, [[b"one"]])
    writer.close()
    for name in (f"notes{SEALED}", f"a-b{SEALED}", f"-{OPEN}"):
        (tmp_path / STREAM / name).write_text("mine")
    assert everything(tmp_path) == [b"one"]
    assert seal_orphans(tmp_path, STREAM) == []


@pytest.mark.parametrize("payload", [b""])
def test_an_empty_payload_is_a_mistake(payload: bytes) -> None:
    with pytest.raises(ValueError, match="expected payloads of 1 to"):
        frames.framed([payload], b"mark")
