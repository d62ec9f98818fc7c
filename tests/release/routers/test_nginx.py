"""The real nginx: sticky users by an include file and a reload; no lease."""

from __future__ import annotations

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.release.routers.nginx import NginxRouter, nginx_include
from holdfast.release.routing import Routing
from tests.release.routers.load import Load, ask, ask_all
from tests.release.routers.proxies import Nginx, Servers

UNITS = [f"user-{number}" for number in range(800)]


def routing(epoch: int, share: float, **more: object) -> Routing:
    given = {"model": "search", "champion": "1", "canary": "2", "release": "r1", **more}
    return Routing(epoch=epoch, share=share, **given)  # type: ignore[arg-type]


def canaries(nginx: Nginx) -> set[str]:
    return {str(answer.unit) for answer in ask_all(nginx.port, UNITS) if answer.variant == "canary"}


def test_users_are_sticky_and_raising_the_share_only_adds_users(nginx: Nginx) -> None:
    before = set[str]()
    for epoch, share in enumerate([0.1, 0.4, 1.0], start=1):
        nginx.tell(routing(epoch, share))
        now = canaries(nginx)
        assert now >= before
        assert len(now) / len(UNITS) == pytest.approx(share, abs=0.06)
        before = now
    nginx.tell(routing(8, 0.4))
    first = canaries(nginx)
    nginx.tell(routing(9, 0.4, release="r2"))
    assert len(canaries(nginx)) / len(UNITS) == pytest.approx(0.4, abs=0.06)
    assert len(canaries(nginx) & first) / len(first) == pytest.approx(0.4, abs=0.12)


def test_headers_and_no_unit(nginx: Nginx) -> None:
    nginx.tell(routing(1, 1.0))
    answer = ask(nginx.port, "u")
    assert (answer.body, answer.headers["x-holdfast-version"], answer.served_by) == ("2|canary|2|-", "2", "canary")
    assert (ask(nginx.port, None).variant, ask(nginx.port, "").variant) == ("champion", "champion")


def test_a_dead_canary_is_answered_by_the_champion(nginx: Nginx, servers: Servers) -> None:
    nginx.tell(routing(1, 1.0))
    servers.stop("2")
    answers = ask_all(nginx.port, UNITS[:20])
    servers.start("2")
    assert {(a.status, a.variant, a.served_by, a.version) for a in answers} == {(200, "canary", "champion", "1")}


def test_telling_again_reloads_nothing(nginx: Nginx) -> None:
    router = nginx.router()
    router.apply(routing(1, 0.5))
    router.nginx = ("/bin/false",)
    router.apply(routing(1, 0.5))
    with pytest.raises(OutsideError, match="was not taken"):
        router.apply(routing(2, 0.5))


def test_a_configuration_that_nginx_refuses_is_put_back(nginx: Nginx) -> None:
    router = nginx.router()
    router.apply(routing(1, 0.5))
    nginx.conf.write_text("nonsense;")
    with pytest.raises(OutsideError, match="was not taken"):
        router.apply(routing(2, 0.9))
    assert router.read() == routing(1, 0.5)


def test_answers_under_load_are_whole(nginx: Nginx) -> None:
    """A reload closes idle connections, so a request may find its connection gone; none is answered wrongly."""
    router = nginx.router()
    with Load(nginx.port) as load:
        for epoch in range(1, 6):
            router.apply(routing(epoch, epoch / 10))
    assert set(load.failed) <= {0}


def test_shares_between_two_steps_and_hostile_names_are_refused() -> None:
    router = NginxRouter("/nowhere/x.conf", lambda _: "127.0.0.1:1")
    with pytest.raises(UserError, match=r"nginx takes shares in steps of 0\.0001"):
        router.apply(routing(1, 0.00005))
    for version in ('1";}', "1 2", "$x", ""):
        with pytest.raises(UserError, match="version"):
            router.apply(routing(1, 0.5, canary=version))
    text = nginx_include(routing(1, 0.5, release='";} $x\n', model='\n"; load_module x;'), lambda _: "127.0.0.1:1")
    assert "$x" not in text.replace("$holdfast", "").split("\n", 1)[1]
    assert text.splitlines()[0].startswith("# holdfast: {") and "load_module" not in text.split("\n", 1)[1]


def test_no_file_and_a_foreign_file(nginx: Nginx) -> None:
    nginx.include.write_text("server { }")
    with pytest.raises(OutsideError, match="not written by Holdfast"):
        nginx.router().read()
    nginx.include.unlink()
    assert nginx.router().read() is None
