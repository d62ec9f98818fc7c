"""The real HAProxy: sticky users, one draw an attempt, the lease, dead servers, fences, restarts, and real load."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import OutsideError, Refused, UserError
from holdfast.release.routers.addresses import parsed
from holdfast.release.routers.haproxy import HAProxyRouter
from holdfast.release.routers.haproxy_config import first_files, haproxy_config
from holdfast.release.routers.haproxy_entry import FIELDS, Entry, drawn_by_haproxy
from holdfast.release.routing import Routing
from tests.release.routers.load import Answer, Load, ask, ask_all
from tests.release.routers.proxies import HAProxy, Servers, free_port, wait_for

UNITS = [f"user-{number}" for number in range(1000)]
ODD = ["añb", "a, b", "x|y", '"q" \\', "%00;", "a" * 500]


def routing(epoch: int, share: float = 0.3, *, canary: str | None = "2", **more: object) -> Routing:
    given = {"model": "search", "champion": "1", "release": "r1", "lease_seconds": 30.0, **more}
    return Routing(epoch=epoch, canary=canary, share=share, **given)  # type: ignore[arg-type]


def canaries(answers: list[Answer]) -> set[str]:
    return {str(answer.unit) for answer in answers if answer.variant == "canary"}


def both_up(haproxy: HAProxy) -> None:
    router = haproxy.router()
    wait_for(lambda: all(router.health().values()))


def test_users_are_sticky_and_raising_the_share_only_adds_users(haproxy: HAProxy) -> None:
    router, before = haproxy.router(), set[str]()
    for epoch, share in enumerate([0.0, 0.0001, 0.05, 0.3, 0.8, 1.0]):
        router.apply(routing(epoch, share))
        now = canaries(ask_all(haproxy.port, UNITS))
        assert now >= before
        assert now & set(UNITS[:200]) == canaries(ask_all(haproxy.port, UNITS[:200]))
        assert now == {unit for unit in UNITS if drawn_by_haproxy("r1", unit) < share}
        before = now
    assert before == set(UNITS)


def test_the_share_is_met_and_a_new_release_draws_new_users(haproxy: HAProxy) -> None:
    router = haproxy.router()
    router.apply(routing(1, 0.3))
    first = canaries(ask_all(haproxy.port, UNITS))
    router.apply(routing(2, 0.3, release="r2"))
    second = canaries(ask_all(haproxy.port, UNITS))
    assert len(first) / len(UNITS) == pytest.approx(0.3, abs=0.05)
    assert len(first & second) / len(first) == pytest.approx(0.3, abs=0.1)


def test_the_draw_is_uniform_to_a_ten_thousandth() -> None:
    draws = [drawn_by_haproxy("r", f"u{number}") for number in range(100_000)]
    for share in (0.0001, 0.01, 0.25, 0.5):
        sd = (share * (1 - share) / len(draws)) ** 0.5
        assert sum(draw < share for draw in draws) / len(draws) == pytest.approx(share, abs=4 * sd)


def test_odd_units_are_drawn_as_they_are_told(haproxy: HAProxy) -> None:
    haproxy.router().apply(routing(1, 0.5))
    for answer, unit in zip(ask_all(haproxy.port, ODD), ODD, strict=True):
        assert answer.variant == ("canary" if drawn_by_haproxy("r1", unit) < 0.5 else "champion")


def test_no_unit_is_the_champion(haproxy: HAProxy) -> None:
    haproxy.router().apply(routing(1, 1.0))
    assert [answer.variant for answer in ask_all(haproxy.port, [None, "", "u"])] == ["champion", "champion", "canary"]


def test_headers_tell_user_and_server_what_was_assigned(haproxy: HAProxy) -> None:
    lies = b"x-holdfast-variant: canary\r\nx-holdfast-version: 9\r\nx-holdfast-epoch: 9\r\n"
    untold = ask(haproxy.port, "u", lies)
    assert (untold.body, untold.variant, untold.served_by) == ("1|champion|-|-", "champion", "champion")
    haproxy.router().apply(routing(7, 0.0))
    champion = ask(haproxy.port, "u", lies)
    assert (champion.body, champion.headers["x-holdfast-version"]) == ("1|champion|1|7", "1")
    haproxy.router().apply(routing(8, 1.0))
    both_up(haproxy)
    canary = ask(haproxy.port, "u", lies)
    assert (canary.body, canary.variant, canary.headers["x-holdfast-version"]) == ("2|canary|2|8", "canary", "2")
    assert (canary.headers["x-holdfast-epoch"], canary.served_by) == ("8", "canary")


@pytest.mark.parametrize("champion", ["1", "2"])
def test_a_drill_answers_canary_users_from_the_champions_server(haproxy: HAProxy, champion: str) -> None:
    router = haproxy.router()
    router.apply(routing(1, 0.0, champion=champion, canary=None))
    router.apply(routing(2, 1.0, champion=champion, canary=champion))
    answer = ask(haproxy.port, "u")
    assert (answer.variant, answer.served_by, answer.version) == ("canary", "champion", champion)
    assert answer.headers["x-holdfast-version"] == champion
    assert router.health() == {champion: True}


def test_a_lapsed_lease_is_the_champion_until_it_is_told_again(haproxy: HAProxy) -> None:
    router, wanted = haproxy.router(), routing(1, 1.0, lease_seconds=0.5)
    router.apply(wanted)
    assert ask(haproxy.port, "u").variant == "canary"
    wait_for(lambda: ask(haproxy.port, "u").variant == "champion")
    assert router.read() == wanted
    router.apply(wanted)
    assert ask(haproxy.port, "u").variant == "canary"


def test_a_dead_canary_is_answered_by_the_champion_at_once(haproxy: HAProxy, servers: Servers) -> None:
    router = haproxy.router()
    router.apply(routing(1, 1.0))
    both_up(haproxy)
    with Load(haproxy.port) as load:
        servers.stop("2")
        wait_for(lambda: router.health() == {"1": True, "2": False})
        known = time.monotonic()
        down = ask(haproxy.port, "u")
        servers.start("2")
        wait_for(lambda: router.health() == {"1": True, "2": True})
        wait_for(lambda: ask(haproxy.port, "u").served_by == "canary")
    assert (down.status, down.variant, down.served_by, down.version) == (200, "canary", "champion", "1")
    assert down.headers["x-holdfast-version"] == "2"
    failed = [answer for answer in load.answers if answer.status != 200]
    assert len(failed) <= 2 * load.connections  # what the server had taken when it was killed is not sent again
    assert not [answer for answer in failed if answer.began > known]
    assert {answer.variant for answer in load.answers if answer.status == 200} == {"canary"}


def test_a_dead_champion_never_sends_its_users_to_the_canary(haproxy: HAProxy, servers: Servers) -> None:
    haproxy.router().apply(routing(1, 0.5))
    both_up(haproxy)
    servers.stop("1")
    answers = ask_all(haproxy.port, UNITS[:40])
    servers.start("1")
    assert {(answer.variant, answer.version) for answer in answers if answer.status == 200} == {("canary", "2")}
    assert {answer.variant for answer in answers if answer.status == 503} == {"champion"}


def test_older_epochs_are_refused_and_telling_again_is_not(haproxy: HAProxy) -> None:
    router = haproxy.router()
    router.apply(routing(5))
    router.apply(routing(5))
    router.apply(routing(5, lease_seconds=10.0))
    for stale in (routing(4), routing(5, 0.4), routing(5, release="other")):
        with pytest.raises(Refused, match="stale") as caught:
            router.apply(stale)
        assert caught.value.reason_code == "stale_epoch"
    assert router.read() == routing(5, lease_seconds=10.0)


def race(
    place: str, addresses: dict[str, str], epochs: list[int], start: threading.Event, said: multiprocessing.Queue
) -> None:
    router = HAProxyRouter(place, addresses.__getitem__)
    start.wait()
    taken = []
    for epoch in epochs:
        try:
            router.apply(routing(epoch, epoch / 100))
            taken.append(epoch)
        except Refused:
            pass
    said.put(taken)


def watched(haproxy: HAProxy, racers: list[multiprocessing.context.SpawnProcess]) -> list[int]:
    """The epochs that HAProxy holds one after the other while the racers run."""
    router, seen = haproxy.router(tcp=True), []
    while any(racer.is_alive() for racer in racers):
        now = router.read()
        seen += [] if now is None else [now.epoch]
    return seen


@pytest.mark.parametrize("tcp", [False, True])
def test_of_racing_controllers_the_higher_epoch_stays(
    haproxy: HAProxy, servers: Servers, tcp: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over TCP each has a lock file of its own, as on two hosts: HAProxy's numbers alone decide there."""
    addresses = {version: servers.address_of(version) for version in ("1", "2")}
    context = multiprocessing.get_context("spawn")
    start, said = context.Event(), context.Queue()
    racers = []
    for number in range(3):
        if tcp:
            (tmp_path / str(number)).mkdir()
            monkeypatch.setenv("TMPDIR", str(tmp_path / str(number)))
        place = haproxy.tcp if tcp else str(haproxy.socket)
        epochs = list(range(number + 1, 19, 3))
        racers.append(context.Process(target=race, args=(place, addresses, epochs, start, said)))
        racers[-1].start()
    start.set()
    seen = watched(haproxy, racers)
    taken = [epoch for _ in racers for epoch in said.get(timeout=60)]
    for racer in racers:
        racer.join()
    assert seen == sorted(seen)  # no older decision ever replaced a later one
    assert 18 in taken
    assert haproxy.router().read() == routing(18, 0.18)


def interrupted(router: HAProxyRouter, number: int, then: Callable[[], None]) -> list[str]:
    """Does `then` just before the router's command `number`, from 0. The list fills with its commands."""
    commands: list[str] = []
    ask_haproxy = router.runtime.ask

    def hooked(command: str) -> str:
        commands.append(command)
        if len(commands) == number + 1:
            then()
        return ask_haproxy(command)

    router.runtime.ask = hooked  # type: ignore[method-assign]
    return commands


def test_a_later_decision_of_another_host_between_any_two_commands_stays(haproxy: HAProxy, servers: Servers) -> None:
    """The earlier controller speaks over TCP, so that no lock file holds the later one back. It wants another canary in
    the same slot: where its address came last, telling the later decision again puts that right.
    """
    for number in itertools.count():
        early, later = haproxy.router(tcp=True), routing(10 * number + 2, 0.0)
        commands = interrupted(early, number, lambda later=later: haproxy.router().apply(later))
        with contextlib.suppress(Refused):
            early.apply(routing(10 * number + 1, 0.9, canary="3"))
        if len(commands) <= number:
            break
        assert haproxy.router().read() == later, commands[: number + 1]
        haproxy.router().apply(later)
        for version, server in haproxy.router()._by_version().items():
            assert server.endpoint == parsed(servers.address_of(version))
    assert number > 8


def test_a_writer_that_died_between_preparing_and_committing_stops_nobody(haproxy: HAProxy) -> None:
    router = haproxy.router()
    router.runtime.prepared(str(haproxy.folder / "holdfast.map"))
    router.apply(routing(1))
    router.apply(routing(2))
    assert router.read() == routing(2)


def test_what_was_prepared_before_is_refused_after(haproxy: HAProxy) -> None:
    router, path = haproxy.router(), str(haproxy.folder / "holdfast.map")
    number = router.runtime.prepared(path)
    router.apply(routing(1))
    assert "out of range" in router.runtime.ask(f"commit map @{number} {path}")
    assert router.read() == routing(1)


def test_after_a_restart_without_memory_the_champion_answers_everybody(haproxy: HAProxy) -> None:
    router = haproxy.router(keep=False)
    router.apply(routing(1, 1.0))
    haproxy.stop()
    with pytest.raises(OutsideError, match="cannot be reached") as caught:
        router.read()
    assert caught.value.reason_code == "router_unavailable"
    haproxy.start()
    assert (router.read(), router.health()) == (None, {})
    assert {answer.version for answer in ask_all(haproxy.port, UNITS[:50])} == {"1"}
    router.apply(routing(1, 1.0))
    assert ask(haproxy.port, "u").variant == "canary"


def test_what_was_kept_survives_a_restart(haproxy: HAProxy) -> None:
    """Also a champion that was promoted, and a canary whose address the configuration never had."""
    router = haproxy.router(keep=None)
    router.apply(routing(1, 0.5))
    both_up(haproxy)
    wanted = routing(2, 0.5, champion="2", canary="3")
    router.apply(wanted)
    haproxy.stop()
    haproxy.start()
    assert router.read() == wanted
    both_up(haproxy)
    answers = ask_all(haproxy.port, UNITS[:200])
    assert {(answer.variant, answer.version) for answer in answers} == {("champion", "2"), ("canary", "3")}
    with pytest.raises(Refused):
        router.apply(routing(1, 0.5))


def test_what_cannot_be_kept_is_said_but_routes(haproxy: HAProxy) -> None:
    (haproxy.folder / "holdfast.map").unlink()
    with pytest.raises(OutsideError, match="routes as it was told") as caught:
        haproxy.router(keep=True).apply(routing(1, 1.0))
    assert caught.value.reason_code == "router_not_kept"
    assert ask(haproxy.port, "u").variant == "canary"


def test_promoting_and_going_back_swap_the_slots_under_load_and_fail_nothing(haproxy: HAProxy) -> None:
    router, epoch = haproxy.router(keep=True), 0
    with Load(haproxy.port) as load:
        for champion, canary in [("1", "2"), ("2", "3"), ("3", "1")]:
            for share in (0.1, 0.5, 0.0, 1.0):
                epoch += 1
                router.apply(routing(epoch, share, champion=champion, canary=canary, release=f"r{canary}"))
                time.sleep(0.15)
            epoch += 1
            router.apply(routing(epoch, 0.0, champion=canary, canary=None))
        for canary in ("2", "1", "2"):  # one canary after the other in the same slot
            epoch += 1
            router.apply(routing(epoch, 1.0, champion="3", canary=canary))
            wait_for(lambda: all(router.health().values()))
            time.sleep(0.15)
        epoch += 1
        router.apply(routing(epoch, 0.0, champion="3", canary=None))
    assert load.failed == {}
    assert len(load.answers) > 300
    for answer in load.answers:
        said = answer.headers.get("x-holdfast-version")
        if answer.variant == answer.served_by and said != "from the server":
            assert answer.version == said
    assert {answer.version for answer in ask_all(haproxy.port, UNITS[:20])} == {"3"}


def test_a_rollback_under_load_is_seen_by_every_request_after_it(haproxy: HAProxy) -> None:
    router = haproxy.router()
    router.apply(routing(1, 0.5))
    both_up(haproxy)
    with Load(haproxy.port) as load:
        for epoch in range(2, 22, 2):
            router.apply(routing(epoch, 0.5))
            time.sleep(0.05)
            router.apply(routing(epoch + 1, 0.0))
            returned = time.monotonic()
            time.sleep(0.1)
            assert [a for a in list(load.answers) if a.began > returned and a.variant == "canary"] == []
    assert load.failed == {}
    assert canaries(load.answers)


def test_a_champion_that_does_not_answer_is_not_promoted(haproxy: HAProxy, servers: Servers) -> None:
    router = haproxy.router(patience=0.5)
    router.apply(routing(1, 0.5))
    for champion in ("2", "3"):  # in the other slot, and in none
        servers.stop(champion)
        if champion == "2":
            wait_for(lambda: router.health() == {"1": True, "2": False})
        with pytest.raises(OutsideError, match="health check") as caught:
            router.apply(routing(2, 0.0, champion=champion, canary=None))
        servers.start(champion)
        assert caught.value.reason_code == "version_unhealthy"
        assert router.read() == routing(1, 0.5)
        assert {answer.served_by for answer in ask_all(haproxy.port, UNITS[:20])} <= {"champion", "canary"}
    haproxy.router().apply(routing(2, 0.0, champion="3", canary=None))
    assert ask(haproxy.port, "u").version == "3"


def test_a_rollback_needs_no_addresses(haproxy: HAProxy) -> None:
    haproxy.router().apply(routing(1, 0.5))

    def lost(version: str) -> str:
        raise UserError(f"no address for {version}")

    router = HAProxyRouter(haproxy.socket, lost, keep=False)
    router.apply(routing(2, 0.25))
    assert router.read() == routing(2, 0.25)
    assert {a.variant for a in ask_all(haproxy.port, UNITS[:100])} == {"champion", "canary"}
    router.apply(routing(3, 0.0, canary=None))
    assert router.read() == routing(3, 0.0, canary=None)
    assert {a.variant for a in ask_all(haproxy.port, UNITS[:100])} == {"champion"}
    with pytest.raises(UserError, match="no address"):
        router.apply(routing(4, 0.5))


def test_a_rollback_does_not_wait_for_a_promotion_that_waits(haproxy: HAProxy) -> None:
    """Somebody tries to promote a version whose server does not come up; the rollback passes by, and wins."""
    haproxy.router().apply(routing(1, 0.5))
    haproxy.servers.ports["9"] = free_port()
    refused: list[Refused] = []

    def promote() -> None:
        with pytest.raises(Refused) as caught:
            haproxy.router(patience=60).apply(routing(2, 0.0, champion="9", canary=None))
        refused.append(caught.value)

    waiting = threading.Thread(target=promote)
    waiting.start()
    time.sleep(0.3)
    haproxy.router().apply(routing(3, 0.0, canary=None))
    waiting.join(timeout=30)
    assert [error.reason_code for error in refused] == ["stale_epoch"]
    assert haproxy.router().read() == routing(3, 0.0, canary=None)


def test_a_server_that_stands_at_two_addresses_is_put_right(haproxy: HAProxy) -> None:
    router = haproxy.router()
    router.apply(routing(1, 1.0))
    both_up(haproxy)
    host, port = parsed(haproxy.servers.address_of("3"))
    router.runtime.ask(f"set server holdfast_green_canary/green addr {host} port {port}")
    assert ask(haproxy.port, "u").version == "3"
    router.apply(routing(1, 1.0))
    both_up(haproxy)
    assert ask(haproxy.port, "u").version == "2"


def test_two_versions_at_one_address_are_refused(haproxy: HAProxy) -> None:
    router = HAProxyRouter(haproxy.socket, lambda _: haproxy.servers.address_of("1"))
    with pytest.raises(UserError, match="same address"):
        router.apply(routing(1))


HOSTILE = ["", "a b", "a;b", "a|b", "a\nb", "1\r\nx: y", "é", "<<", "%0a", "$x", '"', "\\", "a" * 200, "-1", "\x00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_version_is_refused_before_anything_is_said(text: str) -> None:
    router = HAProxyRouter("/nowhere", lambda _: "127.0.0.1:1")
    for wanted in (routing(1, champion=text), routing(1, canary=text)):
        with pytest.raises(UserError, match="version"):
            router.apply(wanted)


def test_hostile_models_and_releases_are_data(haproxy: HAProxy) -> None:
    router = haproxy.router(keep=True)
    hostile = ["a;disable server holdfast_blue/blue", "x\nclear map @1", "|||", "<<", "é\ud800", "%|%0a", " ", "\\;"]
    for epoch, text in enumerate(hostile):
        wanted = routing(epoch, 0.5, model=text, release=text)
        router.apply(wanted)
        assert router.read() == wanted
    haproxy.stop()
    haproxy.start()
    assert router.read() == wanted
    with pytest.raises(UserError, match="too long"):
        router.apply(routing(99, release="é" * 1000))


@pytest.mark.parametrize("address", ["h:1\nx", "h", "h:0", "h:99999", "h:1;clear", "a b:1", ""])
def test_hostile_addresses_are_refused(haproxy: HAProxy, address: str) -> None:
    with pytest.raises(UserError, match="host:port"):
        HAProxyRouter(haproxy.socket, lambda _: address).apply(routing(1))


routings = st.builds(
    Routing,
    model=st.text(max_size=30),
    epoch=st.integers(0, 2**53),
    champion=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@+=/-]{0,20}", fullmatch=True),
    canary=st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@+=/-]{0,20}", fullmatch=True),
    share=st.floats(0, 1),
    release=st.none() | st.text(min_size=1, max_size=30),
    lease_seconds=st.floats(0.001, 1e6),
)


@given(routings, st.integers(0, 2**53), st.sampled_from(["blue", "green"]))
def test_every_entry_round_trips_in_harmless_letters(now: Routing, until: int, slot: str) -> None:
    entry = Entry(routing=now, until=until, slot=slot, canary_slot=slot)  # type: ignore[arg-type]
    text = entry.text()
    assert Entry.parse(text) == entry
    assert text.count("|") == len(FIELDS) - 1
    assert text.isascii() and text.isprintable() and not set(text) & set(' ;"\\<>\n')


@pytest.mark.parametrize("text", ["", "x", "1|2|3", "|" * 10, "1|m|r|x|1|1|1|1|blue||", "1|m|r|0|1|1|1|1|red||"])
def test_a_foreign_entry_is_one_sentence(text: str) -> None:
    with pytest.raises(OutsideError, match="did not write"):
        Entry.parse(text)


def test_what_is_wrong_with_the_proxy_is_one_sentence(haproxy: HAProxy, servers: Servers) -> None:
    with pytest.raises(OutsideError, match="cannot be reached"):
        HAProxyRouter("/nowhere/x.sock", servers.address_of).read()
    with pytest.raises(OutsideError, match="no map other"):
        HAProxyRouter(haproxy.socket, servers.address_of, prefix="other").read()
    with pytest.raises(UserError, match="over TCP"):
        HAProxyRouter("tcp://127.0.0.1:1", servers.address_of, keep=True)
    with pytest.raises(OutsideError, match="cannot be reached"):
        HAProxyRouter("tcp://127.0.0.1:1", servers.address_of).apply(routing(1))


def test_the_configuration_is_strict_and_has_no_warnings(haproxy: HAProxy, tmp_path: Path) -> None:
    assert "WARNING" not in haproxy.log()
    good = {"bind": "*:80", "socket": "/run/h.sock", "folder": "/f", "champion": "a:1", "spare": "b:2"}
    assert "ipv4@127.0.0.1:99 level admin" in haproxy_config(**{**good, "socket": "tcp://127.0.0.1:99"})
    wrong = {
        "bind": "*:80\nuser root",
        "socket": "a b",
        "folder": "f",
        "champion": "x",
        "prefix": "a b",
        "health": "/ x",
    }
    for name, value in wrong.items():
        with pytest.raises(UserError):
            haproxy_config(**{**good, name: value})
    (tmp_path / "holdfast.map").write_text("kept")
    first_files(tmp_path)
    assert (tmp_path / "holdfast.map").read_text() == "kept"
    with pytest.raises(OutsideError, match="cannot be made"):
        first_files(tmp_path / "holdfast.map" / "x")


def test_all_routing_fields_are_in_the_entry() -> None:
    assert {field.name for field in dataclasses.fields(Routing)} - {"lease_seconds"} <= set(FIELDS)
