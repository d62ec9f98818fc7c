"""The published schemas of what Kubernetes is given: validators from npm, and KServe's own models from its wheel.

Fetched when a test asks, into a temporary folder; nothing of them is kept in this repository.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.environment.build import find_uv
from holdfast.release.routers.kubernetes import Document
from tests.fixtures.fetching import fetched, unavailable

NPM = ("@kubernetes-models/gateway-api@2.0.0", "@kubernetes-models/argo-rollouts@2.0.0")
KSERVE = "kserve==0.21.0"
VALIDATE = """
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import { Rollout } from "@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1";
const kinds = { HTTPRoute, Rollout };
let text = "";
for await (const part of process.stdin) text += part;
const said = JSON.parse(text).map((document) => {
  try { new kinds[document.kind](document).validate(); return ""; } catch (error) { return String(error.message); }
});
console.log(JSON.stringify(said));
"""
_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "datetime": str}


def npm_validator(folder: Path) -> Callable[[list[Document]], list[str]]:
    """What the published schemas of HTTPRoute and Rollout say about each document; "" where it is valid."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("npm and node are not installed")
    options = [
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=2000",
    ]
    command = [str(npm), "install", "--loglevel=error", *options, *NPM]
    (folder / "package.json").write_text('{"private": true}')
    fetched(command, folder, "the schemas of Gateway API and Argo Rollouts")
    (folder / "validate.mjs").write_text(VALIDATE)

    def validate(documents: list[Document]) -> list[str]:
        done = subprocess.run(
            [str(node), "validate.mjs"],
            cwd=folder,
            input=json.dumps(documents),
            capture_output=True,
            text=True,
            check=True,
        )
        return [str(said) for said in json.loads(done.stdout)]

    return validate


def kserve_validator(folder: Path) -> Callable[[Document], str]:
    """What KServe's published models say about an InferenceService; "" where it is valid."""
    command = [find_uv(), "pip", "install", "-q", "--no-deps", "--target", str(folder / "kserve"), KSERVE]
    fetched(command, folder, "KServe's models")
    models = {name: model for file in (folder / "kserve/kserve/models").glob("*.py") for name, model in _models(file)}
    return lambda document: _said(document, "V1beta1InferenceService", models)


Models = dict[str, dict[str, str]]


def _models(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each model class of a file with the types of its JSON names, read from its source without running it."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            tables = {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in node.body
                if isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and statement.targets[0].id in {"openapi_types", "attribute_map"}
            }
            if len(tables) == 2:
                types = tables["openapi_types"]
                yield node.name, {name: types[field] for field, name in tables["attribute_map"].items()}


def _said(value: Any, kind: str, models: Models, path: str = "") -> str:
    if kind.startswith("list["):
        found = [_said(item, kind[5:-1], models, f"{path}/{n}") for n, item in enumerate(value)]
        return "; ".join(filter(None, found)) if isinstance(value, list) else f"{path} is no list"
    if kind.startswith("dict(") or kind not in {*models, *_PLAIN}:
        return "" if isinstance(value, dict) else f"{path} is no {kind}"  # a type of Kubernetes itself
    if kind in _PLAIN:
        right = isinstance(value, _PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))  # type: ignore[arg-type]
        return "" if right else f"{path} is no {kind}"
    if not isinstance(value, dict):
        return f"{path} is no {kind}"
    known = models[kind]
    unknown = [f"{path}/{name} is unknown" for name in value if name not in known]
    found = [_said(item, known[name], models, f"{path}/{name}") for name, item in value.items() if name in known]
    return "; ".join(filter(None, [*unknown, *found]))


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every plain value in a document."""
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from leaves(value, (*path, key))
    else:
        yield path


def spoiled(document: Document, path: tuple[Any, ...]) -> Document:
    """The document with one plain value of a wrong type: a schema that knows this field refuses it."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = [{"wrong": "type"}]
    return dict(copy)
