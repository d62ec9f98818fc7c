"""A router that writes one document, for `kubectl apply` or a repository that a cluster follows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import OutsideError, UserError
from holdfast.release.routers.kubernetes import Document
from holdfast.release.routers.wanted import checked
from holdfast.release.routers.whole_files import locked, write_whole
from holdfast.release.routing import Routing, Sticky, fence

ROUTING, EPOCH = "holdfast/routing", "holdfast/epoch"


class DocumentRouter:
    """Writes `document(routing)` as YAML to `path`, whole, with the routing and its epoch as annotations.

    `read` is what the document says, not what the cluster does: nobody here asks it. The file changes only when the
    routing does, so that a repository gets one commit for each decision. The variant is drawn for each request, so a
    user meets both versions, and nothing takes the canary back by itself when the controller is away.

    `champion_first` is for KServe and Argo, which give everything to the first version that they see: a first document
    with a canary is refused there (UserError).
    """

    sticky: Sticky = "request"
    keeps_lease = False

    def __init__(
        self, name: str, path: str | Path, document: Callable[[Routing], Document], *, champion_first: bool = False
    ) -> None:
        self.name = name
        self.path = Path(path)
        self.document = document
        self.champion_first = champion_first

    def read(self) -> Routing | None:
        try:
            written = from_yaml(self.path.read_text(encoding="utf-8"))
            return Routing.from_json(json.loads(written["metadata"]["annotations"][ROUTING]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._away(f"{type(error).__name__} {error}".splitlines()[0]) from None

    def apply(self, routing: Routing) -> None:
        text = to_yaml(annotated(self.document(checked(routing)), routing))
        try:
            with locked(self.path.with_suffix(".lock")):
                now = self.read()
                fence(now, routing)
                if now is None and routing.canary is not None and self.champion_first:
                    raise UserError(
                        f"{self.path} is not there yet, and a first document with a canary would give it every request.",
                        hint="Apply the champion alone first, and let the cluster take it.",
                    )
                if now != routing or self.path.read_text(encoding="utf-8") != text:
                    write_whole(self.path, text, mode=0o644)
        except OSError as error:
            raise self._away(str(error)) from None

    def health(self) -> Mapping[str, bool]:
        return {}

    def _away(self, what: str) -> OutsideError:
        return OutsideError(
            f"the document {self.path} cannot be used: {what}.",
            hint="Check the folder, its rights, and that Holdfast wrote the file.",
            reason_code="router_unavailable",
        )


def annotated(document: Document, routing: Routing) -> Document:
    """The document with the routing in its annotations, beside those that it has."""
    metadata = document["metadata"]
    told = {EPOCH: str(routing.epoch), ROUTING: json.dumps(routing.to_json(), sort_keys=True)}
    return {**document, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **told}}}


def to_yaml(document: Mapping[str, Any]) -> str:
    """The document as YAML, in the order of its keys."""
    stream = io.StringIO()
    _yaml().dump(document, stream)
    return stream.getvalue()


def from_yaml(text: str) -> Any:
    """What `to_yaml` was given. Raises ValueError for what is no YAML."""
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(text)
    except YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 100_000
    yaml.sort_base_mapping_type_on_output = False
    yaml.representer.ignore_aliases = lambda _: True  # the same headers twice are written twice
    return yaml
