"""The routing file: whole, fenced, with the end of its lease."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, Refused
from holdfast.release.routers import FileRouter
from holdfast.release.routing import Routing


def routing(epoch: int) -> Routing:
    return Routing(model="m", epoch=epoch, champion="1", canary="2", share=0.1, release="r", lease_seconds=30.0)


def test_the_document_is_the_routing_and_the_end_of_its_lease(tmp_path: Path) -> None:
    router = FileRouter(tmp_path / "new" / "routing.json", clock=lambda: 1000.0)
    router.apply(routing(1))
    assert json.loads(router.path.read_text()) == {**routing(1).to_json(), "until": 1030.0}
    assert sorted(path.name for path in router.path.parent.iterdir()) == ["routing.json", "routing.lock"]
    assert router.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"epoch": 1}', "\xff"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_bytes(text.encode("latin-1"))
    for use in (FileRouter(tmp_path / "r.json").read, lambda: FileRouter(tmp_path / "r.json").apply(routing(1))):
        with pytest.raises(OutsideError, match="cannot be used") as caught:
            use()
        assert caught.value.reason_code == "router_unavailable"


def test_a_folder_that_cannot_be_written_is_one_sentence() -> None:
    with pytest.raises(OutsideError, match="cannot be used"):
        FileRouter("/proc/holdfast/r.json").apply(routing(1))


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutsideError):
        FileRouter(tmp_path / "r.json").apply(routing(1))
    assert not (tmp_path / "elsewhere").exists()


def race(path: str, epochs: list[int], start: threading.Event) -> None:
    start.wait()
    for epoch in epochs:
        with contextlib.suppress(Refused):
            FileRouter(path).apply(routing(epoch))


def test_of_racing_processes_the_higher_epoch_stays(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    path = str(tmp_path / "r.json")
    racers = [context.Process(target=race, args=(path, list(range(first, 30, 3)), start)) for first in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    for racer in racers:
        racer.join()
    assert FileRouter(path).read() == routing(29)
