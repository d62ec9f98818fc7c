"""Documents for Kubernetes: by the published schemas, with the routing in annotations, fenced, and honest about shares."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import OutsideError, Refused, UserError
from holdfast.release.routers.documents import DocumentRouter, annotated, from_yaml, to_yaml
from holdfast.release.routers.kubernetes import Document, http_route, inference_service, rollout
from holdfast.release.routing import Routing
from tests.release.routers.schemas import kserve_validator, leaves, npm_validator, spoiled

ALONE = Routing(model="search", epoch=3, champion="1")
CANARY = Routing(model="search", epoch=4, champion="1", canary="2", share=0.25, release="r1")
TRAFFIC = {"nginx": {"stableIngress": "search"}}


def service(now: Routing) -> Document:
    return inference_service(now, name="search", storage="s3://models/{version}", namespace="prod")


def route(now: Routing) -> Document:
    return http_route(now, name="search", gateway="web", service="search-{version}", hostnames=["a.example"])


def argo(now: Routing) -> Document:
    return rollout(now, name="search", image="registry/search:{version}", traffic=TRAFFIC)


def test_kserve_says_what_its_canary_gets() -> None:
    predictor = service(CANARY)["spec"]["predictor"]
    assert (predictor["canaryTrafficPercent"], predictor["model"]["storageUri"]) == (25, "s3://models/2")
    back = service(dataclasses.replace(CANARY, share=0.0))["spec"]["predictor"]
    assert (back["canaryTrafficPercent"], back["model"]["storageUri"]) == (0, "s3://models/2")
    alone = service(ALONE)["spec"]["predictor"]
    assert alone == {"model": {"modelFormat": {"name": "mlflow"}, "storageUri": "s3://models/1"}}


@pytest.mark.parametrize("share", [0.005, 0.125, 0.333, 0.0101, 1e-5])
def test_kserve_and_argo_refuse_what_is_no_whole_percent(share: float) -> None:
    for document, name in ((service, "KServe"), (argo, "Argo Rollouts")):
        with pytest.raises(UserError, match=rf"{name} takes shares in steps of 0\.01") as caught:
            document(dataclasses.replace(CANARY, share=share))
        assert "Write 0" in str(caught.value)


@given(st.integers(0, 100))
def test_every_whole_percent_is_taken_as_it_is(percent: int) -> None:
    now = dataclasses.replace(CANARY, share=percent / 100)
    assert service(now)["spec"]["predictor"]["canaryTrafficPercent"] == percent
    assert argo(now)["spec"]["strategy"]["canary"]["steps"][0] == {"setWeight": percent}


@given(st.integers(0, 10_000))
def test_weights_of_a_route_are_the_share_and_the_rest(parts: int) -> None:
    backends = route(dataclasses.replace(CANARY, share=parts / 10_000))["spec"]["rules"][0]["backendRefs"]
    assert [(backend["name"], backend["weight"]) for backend in backends] == [
        ("search-1", 10_000 - parts),
        ("search-2", parts),
    ]


def test_a_route_tells_who_was_drawn() -> None:
    champion, canary = route(CANARY)["spec"]["rules"][0]["backendRefs"]
    for backend, told in ((champion, ("champion", "1")), (canary, ("canary", "2"))):
        for which in backend["filters"]:
            (headers,) = [value for key, value in which.items() if key != "type"]
            assert tuple(header["value"] for header in headers["set"]) == told
    assert len(route(ALONE)["spec"]["rules"][0]["backendRefs"]) == 1
    with pytest.raises(UserError, match=r"steps of 0\.0001"):
        route(dataclasses.replace(CANARY, share=0.00001))


def test_argo_rolls_one_version_out_whole() -> None:
    canary = argo(ALONE)["spec"]
    assert "steps" not in canary["strategy"]["canary"]
    assert canary["template"]["spec"]["containers"][0]["image"] == "registry/search:1"


@pytest.mark.parametrize("name", ["Search", "a_b", "", "-a", "a" * 64, "a\nb", "a: b"])
def test_names_that_kubernetes_refuses_are_refused_here(name: str) -> None:
    with pytest.raises(UserError, match="Kubernetes cannot take"):
        inference_service(CANARY, name=name, storage="s3://{version}")
    with pytest.raises(UserError, match="must have"):
        inference_service(CANARY, name="a", storage="s3://m")


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return npm_validator(tmp_path_factory.mktemp("npm"))


@pytest.mark.parametrize("document", [route, argo])
def test_by_the_published_schemas(npm: Any, document: Any) -> None:
    """Valid as they are; and each value of a wrong type is refused, so the schema knows every field that we write."""
    shares = [ALONE, CANARY, dataclasses.replace(CANARY, share=0.0), dataclasses.replace(CANARY, share=1.0)]
    assert npm([annotated(document(now), now) for now in shares]) == [""] * len(shares)
    whole = document(CANARY)
    paths = [path for path in leaves(whole) if path != ("kind",)]
    said = npm([spoiled(whole, path) for path in paths])
    assert all(said), [path for path, word in zip(paths, said, strict=True) if not word]


def test_by_the_published_models_of_kserve(tmp_path: Path) -> None:
    validate = kserve_validator(tmp_path)
    for now in (ALONE, CANARY, dataclasses.replace(CANARY, share=0.0)):
        assert validate(annotated(service(now), now)) == ""
    whole = service(CANARY)
    for path in leaves(whole):
        if path[0] != "metadata":  # a type of Kubernetes itself
            assert validate(spoiled(whole, path)), path
    assert "canaryTraffic is unknown" in validate(
        {**whole, "spec": {"predictor": {**whole["spec"]["predictor"], "canaryTraffic": 10}}}
    )


@settings(max_examples=40)
@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_annotations_of_any_letters_round_trip(model: str, release: str) -> None:
    now = dataclasses.replace(CANARY, model=model, release=release)
    document = annotated(route(now), now)
    assert from_yaml(to_yaml(document)) == document


def test_the_file_changes_only_when_the_routing_does(tmp_path: Path) -> None:
    router = DocumentRouter("gateway", tmp_path / "new" / "route.yaml", route)
    router.apply(CANARY)
    first = router.path.stat().st_ino
    router.apply(CANARY)
    assert router.path.stat().st_ino == first
    assert from_yaml(router.path.read_text())["metadata"]["annotations"]["holdfast/epoch"] == "4"
    with pytest.raises(Refused):
        router.apply(ALONE)


def test_kserve_and_argo_see_the_champion_first(tmp_path: Path) -> None:
    for name, document in (("kserve", service), ("argo", argo)):
        router = DocumentRouter(name, tmp_path / name, document, champion_first=True)
        with pytest.raises(UserError, match="would give it every request"):
            router.apply(CANARY)
        router.apply(ALONE)
        router.apply(CANARY)
        assert router.read() == CANARY


@pytest.mark.parametrize("text", ["", "a: [", "metadata: {}", "metadata: {annotations: {holdfast/routing: x}}", "- 1"])
def test_a_foreign_document_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "route.yaml").write_text(text)
    with pytest.raises(OutsideError, match="cannot be used") as caught:
        DocumentRouter("gateway", tmp_path / "route.yaml", route).read()
    assert "\n" not in str(caught.value)
