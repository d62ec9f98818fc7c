"""Bisection over real environments, made by uv from wheels that the tests write."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from holdfast.environment.bisection import Bisection, Ends, Laboratory, bisect
from holdfast.environment.build import Environment
from holdfast.environment.locks import Pin
from holdfast.environment.relevance import Moved
from holdfast.errors import UserError
from holdfast.verdict import CheckResult, Verdict
from tests.wheels import make_wheel

Ask = Callable[[Environment], bool]


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is the only index there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def versions(environment: Environment, names: Sequence[str]) -> dict[str, str]:
    """What is really installed there."""
    code = "import sys; from importlib.metadata import version\nfor n in sys.argv[1:]: print(n, version(n))"
    words = [str(environment.python), "-c", code, *names]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def fails_where(names: Sequence[str]) -> Ask:
    return lambda environment: all(v == "2.0" for v in versions(environment, names).values())


def as_check(fails: Ask) -> Callable[[Environment], CheckResult]:
    def check(environment: Environment) -> CheckResult:
        verdict = Verdict.FAIL if fails(environment) else Verdict.PASS
        return CheckResult(name="it", kind="environment", verdict=verdict, message="said so.")

    return check


def laboratory(wheels: Path, names: Sequence[str], fails: Ask, **settings: object) -> Laboratory:
    ends = Ends({n: Pin("1.0") for n in names}, {n: Pin("2.0") for n in names}, sys.executable)
    place = wheels.parent
    return Laboratory(
        ends, as_check(fails), place / "environments", cwd=place, memory=place / "memory.json", **settings
    )  # type: ignore[arg-type]


def search(lab: Laboratory, names: Sequence[str]) -> Bisection:
    return bisect(lab, [Moved(name, "1.0", "2.0") for name in names])


def two_of_each(wheels: Path, count: int) -> list[str]:
    names = [f"p{number}" for number in range(count)]
    for name in names:
        make_wheel(wheels, name, "1.0")
        make_wheel(wheels, name, "2.0")
    return names


def test_one_guilty_of_twelve(wheels: Path) -> None:
    names = two_of_each(wheels, 12)
    lab = laboratory(wheels, names, fails_where(["p7"]))
    found = search(lab, names)
    assert [change.package for change in found.guilty] == ["p7"]
    assert found.pins == ["p7==1.0"]
    assert found.passing == frozenset(names) - {"p7"}
    assert found.environments <= 6
    assert not any((wheels.parent / "environments").glob("environment-*"))  # nothing stays


def test_two_that_fail_only_together(wheels: Path) -> None:
    names = two_of_each(wheels, 8)
    found = search(laboratory(wheels, names, fails_where(["p1", "p6"])), names)
    assert {change.package for change in found.guilty} == {"p1", "p6"}
    assert len(found.pins) == 1
    assert not found.flaky


def test_what_does_not_resolve_is_stepped_around_and_said(wheels: Path) -> None:
    names = two_of_each(wheels, 8)
    make_wheel(wheels, "p2", "2.0", requires=["p5>=2"])
    found = search(laboratory(wheels, names, fails_where(["p2"])), names)
    assert {change.package for change in found.guilty} == {"p2", "p5"}
    assert found.together
    assert any("p5" in reason and "does not resolve" in reason for _, reason in found.untestable)


def test_added_and_removed_packages(wheels: Path) -> None:
    for name in ("kept", "added", "removed"):
        make_wheel(wheels, name, "1.0")
    make_wheel(wheels, "kept", "2.0")
    ends = Ends({"kept": Pin("1.0"), "removed": Pin("1.0")}, {"kept": Pin("2.0"), "added": Pin("1.0")}, sys.executable)

    def has_added(environment: Environment) -> bool:
        return not subprocess.run(
            [str(environment.python), "-c", "import added"], capture_output=True, check=False
        ).returncode

    place = wheels.parent
    lab = Laboratory(ends, as_check(has_added), place / "e", cwd=place, memory=place / "m.json")
    found = bisect(lab, [Moved("kept", "1.0", "2.0"), Moved("added", None, "1.0"), Moved("removed", "1.0", None)])
    assert [str(change) for change in found.guilty] == ["added 1.0 added"]
    assert found.pins == ["# leave out added"]


def test_a_check_that_wavers_is_repeated(wheels: Path) -> None:
    """The check lies once in five; the answer is the right one all the same, with any of these seeds."""
    names = two_of_each(wheels, 6)
    for seed in range(4):
        rng = random.Random(seed)
        lab = laboratory(wheels, names, lambda e, r=rng: fails_where(["p3"])(e) != (r.random() < 0.2), lead=2)
        lab.trials.clear()
        found = search(lab, names)
        assert [change.package for change in found.guilty] == ["p3"], seed


def test_it_goes_on_where_it_was_stopped(wheels: Path) -> None:
    names = two_of_each(wheels, 12)
    asked = 0

    def interrupted(environment: Environment) -> bool:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise KeyboardInterrupt
        return fails_where(["p9"])(environment)

    with pytest.raises(KeyboardInterrupt):
        search(laboratory(wheels, names, interrupted), names)
    assert not any((wheels.parent / "environments").glob("environment-*"))
    again = search(laboratory(wheels, names, fails_where(["p9"])), names)
    (wheels.parent / "memory.json").unlink()
    anew = search(laboratory(wheels, names, fails_where(["p9"])), names)
    assert again.guilty == anew.guilty
    assert again.environments == anew.environments - 3


def test_a_damaged_memory_costs_time_only(wheels: Path) -> None:
    names = two_of_each(wheels, 4)
    (wheels.parent / "memory.json").write_text('{"schema": 1, "trials": [{"changes"')
    assert [c.package for c in search(laboratory(wheels, names, fails_where(["p0"])), names).guilty] == ["p0"]


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (lambda _: False, "passes in the bad environment"),
        (lambda _: True, "does not pass in the good environment"),
    ],
)
def test_ends_that_do_not_differ(wheels: Path, fails: Ask, said: str) -> None:
    names = two_of_each(wheels, 4)
    with pytest.raises(UserError, match=said):
        search(laboratory(wheels, names, fails), names)


def test_an_end_that_cannot_be_made(wheels: Path) -> None:
    make_wheel(wheels, "p0", "1.0")
    with pytest.raises(UserError, match="the bad environment cannot be asked"):
        search(laboratory(wheels, ["p0"], fails_where(["p0"])), ["p0"])


def instances(count: int) -> Iterator[tuple[int, list[str], list[str], list[tuple[str, str]]]]:
    rng = random.Random(20_241)
    for number in range(count):
        names = [f"p{i}" for i in range(rng.randint(4, 24))]
        guilty = rng.sample(names, min(len(names), rng.choice([1, 1, 2, 3])))
        needs = [tuple(rng.sample(names, 2)) for _ in range(rng.choice([0, 0, 1, 2]))]
        yield number, names, guilty, needs  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_random_instances(wheels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Always a smallest guilty set; the mean number of environments is printed beside the bound of information."""
    import math

    made, bounds = [], []
    for number, names, guilty, needs in instances(200):
        folder = wheels / str(number)
        for name in names:
            make_wheel(folder, name, "1.0")
            make_wheel(folder, name, "2.0", requires=[f"{b}>=2" for a, b in needs if a == name])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UV_FIND_LINKS", str(folder))
            patch.setenv("UV_CACHE_DIR", str(wheels.parent / f"cache{number}"))
            ends = Ends({n: Pin("1.0") for n in names}, {n: Pin("2.0") for n in names}, sys.executable)
            place = wheels.parent / f"work{number}"
            place.mkdir()
            lab = Laboratory(ends, as_check(fails_where(guilty)), place / "e", cwd=place, memory=place / "m.json")
            found = search(lab, names)
        smallest = set(guilty)
        while more := {b for a, b in needs if a in smallest} - smallest:
            smallest |= more
        assert {change.package for change in found.guilty} == smallest, (number, guilty, needs)
        made.append(found.environments)
        bounds.append(math.log2(math.comb(len(names), len(guilty))))
    with capsys.disabled():
        print(
            f"\n200 instances: {sum(made) / 200:.1f} environments, information needs {sum(bounds) / 200:.1f}, most {max(made)}"
        )
