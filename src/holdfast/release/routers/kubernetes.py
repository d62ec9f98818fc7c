"""Routing as documents of Kubernetes: KServe's InferenceService, Gateway API's HTTPRoute, Argo's Rollout. Pure functions.

All three draw a variant for each request anew: none of them keeps a user with one version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import UserError
from holdfast.release.routers.wanted import whole_share
from holdfast.release.routing import Routing

Document = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WEIGHTS = 10_000


def inference_service(
    routing: Routing, *, name: str, storage: str, model_format: str = "mlflow", namespace: str | None = None
) -> Document:
    """KServe (serverless mode): `canaryTrafficPercent` of the requests to the canary's model, the rest to what had all before.

    `storage` is a URI with `{version}` in it. KServe knows the champion only as the revision that was last rolled out
    whole, so this document names the newest model alone. Requests are drawn one by one: users are not sticky. Whole
    percents only: UserError for a share between two.
    """
    model = {
        "modelFormat": {"name": model_format},
        "storageUri": _of_version(storage, routing.canary or routing.champion),
    }
    predictor: Document = {"model": model}
    if routing.canary is not None:
        predictor["canaryTrafficPercent"] = whole_share(routing.share, 100, "KServe")
    return _document("serving.kserve.io/v1beta1", "InferenceService", name, namespace, {"predictor": predictor})


def http_route(
    routing: Routing,
    *,
    name: str,
    gateway: str,
    service: str,
    port: int = 80,
    hostnames: Sequence[str] = (),
    namespace: str | None = None,
) -> Document:
    """Gateway API: two backends with weights of 10000, and headers that say which was drawn, to the server and the user.

    `service` is a Service's name with `{version}` in it. Weights are drawn for each request: users are not sticky, and
    every implementation may round them its own way. Header filters of a backend are an extended feature of the API.
    UserError for a share finer than 0.0001.
    """
    parts = whole_share(routing.share, _WEIGHTS, "Gateway API") if routing.canary is not None else 0
    backends = [_backend("champion", routing.champion, _WEIGHTS - parts, service, port)]
    if routing.canary is not None:
        backends.append(_backend("canary", routing.canary, parts, service, port))
    spec: Document = {"parentRefs": [{"name": _named(gateway)}], "rules": [{"backendRefs": backends}]}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return _document("gateway.networking.k8s.io/v1", "HTTPRoute", name, namespace, spec)


def rollout(
    routing: Routing,
    *,
    name: str,
    image: str,
    traffic: Mapping[str, Any],
    port: int = 8080,
    replicas: int = 2,
    namespace: str | None = None,
) -> Document:
    """Argo Rollouts: the canary's pods and one step, `setWeight` and a pause without end; a new weight begins anew at it.

    `image` has `{version}` in it; `traffic` is Argo's `trafficRouting` (which mesh or ingress splits the requests), and
    the Services are NAME-stable and NAME-canary. Without a canary the one version is rolled out whole. Requests are
    drawn one by one: users are not sticky. Whole percents only: UserError for a share between two.
    """
    canary: Document = {
        "canaryService": f"{_named(name)}-canary",
        "stableService": f"{name}-stable",
        "trafficRouting": dict(traffic),
    }
    if routing.canary is not None:
        canary["steps"] = [{"setWeight": whole_share(routing.share, 100, "Argo Rollouts")}, {"pause": {}}]
    container = {
        "name": "model",
        "image": _of_version(image, routing.canary or routing.champion),
        "ports": [{"containerPort": port}],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        "strategy": {"canary": canary},
    }
    return _document("argoproj.io/v1alpha1", "Rollout", name, namespace, spec)


def _document(api: str, kind: str, name: str, namespace: str | None, spec: Document) -> Document:
    metadata = {"name": _named(name), **({} if namespace is None else {"namespace": _named(namespace)})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _backend(variant: str, version: str, weight: int, service: str, port: int) -> Document:
    headers = {
        "set": [
            {"name": "x-holdfast-variant", "value": variant},
            {"name": "x-holdfast-version", "value": version},
        ]
    }
    return {
        "name": _named(_of_version(service, version)),
        "port": port,
        "weight": weight,
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": headers},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers},
        ],
    }


def _of_version(template: str, version: str) -> str:
    if "{version}" not in template:
        raise UserError(f"{template!r} must have {{version}} in it, else all versions would be the same.")
    return template.replace("{version}", version)


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(f"Kubernetes cannot take the name {name!r}: expected small letters, digits and -, at most 63.")
    return name
