"""Groups, bounds, and what becomes of records on a disk that is full, read-only, or does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.errors import OutsideError, UserError
from holdfast.serving.log import frames, segment_writer
from holdfast.serving.log.segments import damaged, read_payloads, sealed, unsealed
from holdfast.serving.log.writer import LogUnavailable, LogWriter
from tests.serving.log.disks import Limited, Tmpfs, tmpfs

STREAM = "predictions"


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A disk that can be filled, in two ways."""
    if request.param == "limit":
        limited = Limited(tmp_path)
        yield limited
        limited.free()
        return
    folder = tmp_path / "mounted"
    folder.mkdir()
    with tmpfs(folder) as mounted:
        if mounted is None:
            pytest.skip("mounting needs more rights")
        yield mounted


@contextlib.contextmanager
def writing(folder: Path, **options: Any) -> Iterator[LogWriter]:
    writer = LogWriter(folder, **options)
    try:
        yield writer
    finally:
        writer.close()


def everything(folder: Path) -> list[bytes]:
    return [payload for path in sealed(folder, STREAM) for payload in read_payloads(path)[0]]


def wait_for(happened: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


async def gathered(writer: LogWriter, payloads: list[bytes]) -> list[Any]:
    return await asyncio.gather(*map(writer.append, payloads), return_exceptions=True)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("durable", [True, False])
def test_many_clients_share_groups(tmp_path: Path, run: Any, durable: bool) -> None:
    payloads = [b"%d" % number for number in range(500)]
    with writing(tmp_path, durable=durable) as writer:
        assert run(gathered(writer, payloads)) == [True] * 500
        assert (writer.written, writer.dropped, writer.waiting, writer.failing) == (500, 0, 0, None)
        lengths = sum(frames.LENGTH_BYTES + len(payload) for payload in payloads)
        assert 1 <= writer.groups < 50 and writer.bytes == lengths + frames.FRAME_BYTES * writer.groups
        assert writer.write_seconds > 0
    assert everything(tmp_path) == payloads


def test_loops_and_threads_at_once(tmp_path: Path) -> None:
    with writing(tmp_path, durable=False, segment_bytes=2000) as writer:
        ways: list[Callable[[], Any]] = [
            lambda: asyncio.run(gathered(writer, [b"a"] * 100)),
            lambda: uvloop.run(gathered(writer, [b"b"] * 100)),
            *[lambda: [writer.append_blocking(b"c") for _ in range(50)]] * 2,
        ]
        threads = [threading.Thread(target=way) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.written == 300
    assert sorted(everything(tmp_path)) == [b"a"] * 100 + [b"b"] * 100 + [b"c"] * 100
    assert len(sealed(tmp_path, STREAM)) > 1


def test_a_record_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    async def one_by_one(writer: LogWriter) -> None:
        for number in range(20):
            await writer.append(b"%d" % number)
            (path,) = unsealed(tmp_path, STREAM)
            assert read_payloads(path)[0][-1] == b"%d" % number

    with writing(tmp_path) as writer:
        asyncio.run(one_by_one(writer))


def test_segments_are_sealed_by_age_without_traffic(tmp_path: Path) -> None:
    with writing(tmp_path, segment_seconds=0.1) as writer:
        writer.append_blocking(b"one")
        wait_for(lambda: sealed(tmp_path, STREAM))
        assert everything(tmp_path) == [b"one"]


def test_cancelled_clients_and_closed_loops_harm_nobody(tmp_path: Path) -> None:
    async def impatient(writer: LogWriter) -> None:
        tasks = [asyncio.create_task(writer.append(b"x")) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[1::2] == [True] * 25

    async def gone(writer: LogWriter) -> None:
        task = asyncio.create_task(writer.append(b"y"))
        await asyncio.sleep(0)
        assert not task.cancelled()

    with writing(tmp_path) as writer:
        asyncio.run(impatient(writer))
        asyncio.run(gone(writer))
        writer.append_blocking(b"z")
    assert everything(tmp_path) == [b"x"] * 50 + [b"y", b"z"]


def test_close_writes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    async def closing(writer: LogWriter) -> list[Any]:
        tasks = [asyncio.create_task(writer.append(b"x")) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(writer.close)
        found = await asyncio.gather(*tasks)
        with pytest.raises(LogUnavailable, match="is closed"):
            await writer.append(b"late")
        return found

    writer = LogWriter(tmp_path)
    assert asyncio.run(closing(writer)) == [True] * 50
    writer.close()
    assert everything(tmp_path) == [b"x"] * 50
    assert LogWriter(tmp_path).close() is None


def test_two_writers_on_one_folder(tmp_path: Path) -> None:
    with writing(tmp_path, replica="r") as first, writing(tmp_path, replica="r") as second:
        assert (first.replica, second.replica) == ("r", "r-2")
        first.append_blocking(b"one")
        second.append_blocking(b"two")
    assert sorted(everything(tmp_path)) == [b"one", b"two"]


@pytest.mark.parametrize("payload", [b""])
def test_a_wrong_payload_harms_nobody_else(tmp_path: Path, payload: bytes) -> None:
    with writing(tmp_path) as writer:
        assert [type(found) for found in asyncio.run(gathered(writer, [b"a", payload, b"b"]))] == [
            bool,
            ValueError,
            bool,
        ]
    assert everything(tmp_path) == [b"a", b"b"]


@pytest.mark.parametrize("policy", ["refuse", "answer"])
def test_a_full_disk(disk: Any, policy: Any) -> None:
    """Said at once, cut, and over by itself as soon as there is room."""
    folder = disk.folder / "log"
    big = b"x" * 100_000  # 40 of them are more than is reserved
    with writing(folder, on_failure=policy) as writer:
        assert asyncio.run(gathered(writer, [b"before", b"too"])) == [True, True]
        disk.fill()
        found = asyncio.run(gathered(writer, [big] * 40))
        if policy == "refuse":
            assert {type(each) for each in found} == {LogUnavailable}
            assert "cannot be written" in str(found[0]) and "serving.log.on_failure" in str(found[0])
        else:
            assert (found, writer.dropped) == ([False] * 40, 40)
        assert writer.failing is not None and writer.waiting == 0 and writer.refuses is (policy == "refuse")
        time.sleep(0.6)  # looking does not help while it is full
        assert writer.failing is not None
        disk.free()
        wait_for(lambda: writer.failing is None, 5)
        assert not writer.refuses
        writer.append_blocking(b"after")
        assert writer.written == 3
    assert everything(folder) == [b"before", b"too", b"after"]
    assert damaged(folder, STREAM) == [] and unsealed(folder, STREAM) == []


def test_a_read_only_disk(tmp_path: Path) -> None:
    with tmpfs(tmp_path) as mounted:
        if not isinstance(mounted, Tmpfs):
            pytest.skip("mounting needs more rights")
        folder = tmp_path / "log"
        LogWriter(folder).close()
        mounted.remount("ro")
        with pytest.raises(LogUnavailable, match=r"cannot be written: Read-only file system\. Make room"):
            LogWriter(folder)
        with writing(folder, on_failure="answer") as writer:  # comes up without its log, and says so
            assert "Read-only" in (writer.failing or "")
            writer.append_blocking(b"lost")
            assert writer.dropped == 1
            mounted.remount("rw")
            wait_for(lambda: writer.failing is None, 5)
            writer.append_blocking(b"kept")
        assert everything(folder) == [b"kept"]


@pytest.mark.parametrize("policy", ["refuse", "answer"])
def test_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Any) -> None:
    """Whoever waits is told after `patience`, whoever comes is told at once, and it is over when the disk answers."""
    hanging, answers = threading.Event(), threading.Event()

    def hang(handle: int) -> None:
        if hanging.is_set():
            answers.wait()
        os.fdatasync(handle)

    monkeypatch.setattr(segment_writer, "_sync", hang)
    with writing(tmp_path, on_failure=policy, patience=0.3) as writer:
        writer.append_blocking(b"before")
        hanging.set()
        found = asyncio.run(asyncio.wait_for(gathered(writer, [b"x"] * 5), 5))
        late = asyncio.run(asyncio.wait_for(gathered(writer, [b"y"] * 5), 0.25))
        if policy == "refuse":
            message = f"The disk of the log {tmp_path} has not answered for 0.3 seconds. Make room or repair the disk;"
            assert all(str(each).startswith(message) for each in found + late)
        else:
            assert found + late == [False] * 10 and writer.dropped == 10
        assert writer.failing is not None
        hanging.clear()
        answers.set()
        wait_for(lambda: writer.failing is None, 5)
        writer.append_blocking(b"after")
    found_again = everything(tmp_path)
    assert found_again[0] == b"before" and found_again[-1] == b"after" and b"y" not in found_again


def test_the_lag_is_the_oldest_record_s_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(segment_writer, "_sync", lambda _: answers.wait(10))
    with writing(tmp_path) as writer:
        assert writer.lag == 0.0
        threads = []
        for _ in range(2):  # one in hand, one behind it
            threads.append(threading.Thread(target=writer.append_blocking, args=(b"x",)))
            threads[-1].start()
            time.sleep(0.15)
        assert writer.waiting == 2 and 0.25 < writer.lag < 5
        answers.set()
        for thread in threads:
            thread.join()
        assert writer.lag == 0.0


def test_a_failed_sync_leaves_nothing_of_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync nobody knows what is on the disk: the segment ends before it."""
    with writing(tmp_path) as writer:
        writer.append_blocking(b"before")

        def fail(_: int) -> None:
            monkeypatch.undo()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(segment_writer, "_sync", fail)
        with pytest.raises(LogUnavailable, match="cannot be written: Input/output error"):
            writer.append_blocking(b"lost")
        writer.append_blocking(b"after")
    assert everything(tmp_path) == [b"before", b"after"]
    assert len(sealed(tmp_path, STREAM)) == 2


@pytest.mark.parametrize("policy", ["refuse", "answer"])
def test_too_much_waiting_fails_at_once(tmp_path: Path, policy: Any) -> None:
    with writing(tmp_path, on_failure=policy, max_waiting=1000) as writer:
        found = asyncio.run(gathered(writer, [b"x" * 300] * 10))
        ok = found.count(True)
        if policy == "refuse":
            assert ok >= 3 and writer.written == ok
            assert "at most 1000 bytes waiting" in str(next(each for each in found if each is not True))
        else:
            assert ok == writer.written and found.count(False) == writer.dropped == 10 - ok > 0
        assert writer.failing is None
        writer.append_blocking(b"goes on")


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match=r"The log .*file cannot be written: Not a directory"):
        LogWriter(tmp_path / "file")
    with pytest.raises(UserError, match="replica's name"):
        LogWriter(tmp_path, replica="../up", on_failure="answer")
