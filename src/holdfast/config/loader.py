"""`holdfast.yaml` from text to a typed project; every error with its file, line and column."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from holdfast.config import secrets
from holdfast.config.canary import canary_problems
from holdfast.config.schema import GatesConfig, Project
from holdfast.errors import ConfigError, UserError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]

_PYDANTIC = re.compile(r"^function-|^is-instance|\[")  # names of branches that pydantic puts into a location
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class LoadedProject:
    """A project file that is right. Paths in it are relative to the folder it stands in."""

    config: Project
    file: Path

    @property
    def root(self) -> Path:
        return self.file.parent

    def path(self, text: str) -> Path:
        """`text` as the project file means it."""
        return (self.root / text).expanduser()

    def policy(self) -> dict[str, Any]:
        """What the gates demand, without what only says how to measure: the part whose hash names a policy."""
        return self.config.gates.model_dump(mode="json", exclude={"file"})


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, with the place of every value and key."""

    file: Path
    data: Any
    values: Mapping[Location, tuple[int, int]]
    keys: Mapping[Location, tuple[int, int]]

    def error(
        self, message: str, location: Location = (), *, hint: str | None = None, at_key: bool = False
    ) -> ConfigError:
        """A ConfigError at `location`, or at the nearest place above it that is written down."""
        places = self.keys if at_key else self.values
        while location and location not in places:
            location = location[:-1]
        line, column = places.get(location, (1, 1))
        return ConfigError(message, file=str(self.file), line=line, column=column, hint=hint)


def load_project(path: str | Path = "holdfast.yaml", environ: Mapping[str, str] | None = None) -> LoadedProject:
    """The project declared in `path`. UserError where there is no file, ConfigError with every mistake where it is wrong."""
    file = Path(path)
    if file.is_dir():
        file = file / "holdfast.yaml"
    if not file.is_file():
        raise UserError(
            f"there is no project file {file}.", hint="Type `holdfast init` to write one, or name it with --config."
        )
    document = read_document(file, os.environ if environ is None else environ)
    config = validated(Project, document)
    loaded = LoadedProject(_with_gates_file(config, document), file.absolute())
    problems = list(_contradictions(loaded.config, document))
    if problems:
        raise _together(problems)
    return loaded


def read_document(file: Path, environ: Mapping[str, str]) -> Document:
    """A YAML file with `${NAME}` and `${NAME:-default}` replaced; `$${` stands for itself."""
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected UTF-8 text, found other bytes at {error.start}.", file=str(file)) from None
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        data = yaml.load(text)
    except DuplicateKeyError as error:
        raise _yaml_error(
            file, error, f"the key {_quoted(str(error.problem))} is written twice.", "Keep one."
        ) from None
    except MarkedYAMLError as error:
        raise _yaml_error(file, error, f"this is no YAML: {error.problem or error.context}.", None) from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"this is no YAML: {' '.join(str(error).split())[:200]}.", file=str(file)) from None
    values: dict[Location, tuple[int, int]] = {}
    keys: dict[Location, tuple[int, int]] = {}
    if node is not None:
        _places(node, (), values, keys)
    document = Document(file, data, values, keys)
    if not isinstance(data, dict):
        raise document.error(
            f"expected keys and values, found {_kind(data)}.", hint="Type `holdfast init` for a start."
        )
    return Document(file, _expand(data, (), environ, document), values, keys)


def validated(model: type[Model], document: Document) -> Model:
    """`document` as `model`; ConfigError that lists every mistake with its place."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise _together([_explained(model, item, document) for item in error.errors()]) from None


def _with_gates_file(config: Project, document: Document) -> Project:
    """The project with the gates of `gates: {file: …}`, which then repeats nothing."""
    if config.gates.file is None:
        return config
    from holdfast.config.validation import ModelValidationConfig

    declared = config.gates.model_fields_set - {"file"}
    repeated = declared & {"metrics"}
    if repeated:
        raise document.error(
            "`gates` names a file and metrics too.",
            ("gates", "metrics"),
            hint="Declare the metrics in one place.",
            at_key=True,
        )
    found = ModelValidationConfig.from_yaml(document.file.parent / config.gates.file).to_gates()
    kept = {name: getattr(config.gates, name) for name in declared | {"file"}}
    return config.model_copy(update={"gates": found.model_copy(update=kept)})


def _contradictions(config: Project, document: Document) -> Iterator[ConfigError]:
    """What each part allows and the whole does not."""
    data = config.data
    if config.holdout.by == "time" and data.time is None:
        yield document.error(
            "a holdout by time needs to know the time.", ("holdout", "by"), hint="Declare `data: {time: COLUMN}`."
        )
    if data.max_age is not None and data.time is None:
        yield document.error(
            "freshness needs to know the time.", ("data", "max_age"), hint="Declare `data: {time: COLUMN}`."
        )
    for name in config.gates.metrics:
        if re.match(r"(ndcg|recall@|mrr)", name) and data.group is None:
            yield document.error(
                f"{name} is measured per query, and no column names the query.",
                ("gates", "metrics", name),
                hint="Declare `data: {group: COLUMN}`.",
                at_key=True,
            )
    for name in data.columns.keys() & {data.label}:
        if data.columns[name].max_unseen_share is not None:
            yield document.error(
                "unseen labels are always an error.", ("data", "columns", name), hint="Remove max_unseen_share."
            )
    yield from _known_metrics(config.gates, document)
    for place, message, hint in canary_problems(config.release):
        yield document.error(message, ("release", *place), hint=hint)


def _known_metrics(gates: GatesConfig, document: Document) -> Iterator[ConfigError]:
    from holdfast.config.names import METRIC, METRIC_NAMES

    for name, gate in gates.metrics.items():
        if gate.function is None and not METRIC.fullmatch(name) and gates.file is None:
            near = difflib.get_close_matches(name, METRIC_NAMES, n=1)
            hint = (
                f"Did you mean {near[0]}?"
                if near
                else f"There are {', '.join(METRIC_NAMES)}; or give `function: module:name`."
            )
            yield document.error(f"there is no metric {name!r}.", ("gates", "metrics", name), hint=hint, at_key=True)


def _explained(model: type[BaseModel], item: Any, document: Document) -> ConfigError:
    """One pydantic error in our words, at its place."""
    location = _written(tuple(item["loc"]), document.data)
    kind, name = item["type"], ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        known = _known_names(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}."
        return document.error(f"unknown key {location[-1]!r}.", location, hint=hint, at_key=True)
    if kind == "missing":
        return document.error(f"{name} is missing.", location, hint=f"Add `{location[-1]}:`.")
    message = item["msg"].removeprefix("Value error, ")
    found = _kind(_at(document.data, location))
    return document.error(f"{name}: {message[0].lower()}{message[1:]}, found {found}.", location)


def _written(location: Location, data: Any) -> Location:
    """`location` without what pydantic adds to it, such as the name of a union's branch."""
    kept: list[str | int] = []
    for number, part in enumerate(location):
        inside = isinstance(data, Mapping) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
        elif number < len(location) - 1 or (isinstance(part, str) and _PYDANTIC.search(part)):
            continue
        kept.append(part)
    return tuple(kept)


def _known_names(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that `model` has at `location`."""
    schema = model.model_json_schema()
    here: dict[str, Any] = schema
    for part in location:
        here = _resolved(here, schema)
        here = here.get("properties", {}).get(str(part)) or here.get("additionalProperties") or here.get("items") or {}
        if here is True:
            return []
    return list(_resolved(here, schema).get("properties", {}))


def _resolved(here: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in here.get("anyOf", []):
        if "$ref" in option or "properties" in option:
            here = option
            break
    reference = here.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else here


def _expand(value: Any, location: Location, environ: Mapping[str, str], document: Document) -> Any:
    """`value` with the environment's variables in its texts."""
    if isinstance(value, dict):
        return {key: _expand(item, (*location, key), environ, document) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*location, number), environ, document) for number, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replaced(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if name is None:
            return "${"
        if name in environ:
            secrets.remember(name, environ[name])
            return environ[name]
        if default is None:
            raise document.error(
                f"the environment has no variable {name}.", location, hint=f"Set it, or write ${{{name}:-default}}."
            )
        return default

    text = _VARIABLE.sub(replaced, value)
    whole = _VARIABLE.fullmatch(value)
    return _scalar(text) if whole and whole[1] else text


def _scalar(text: str) -> Any:
    """A whole value from the environment as YAML would read it: a number, true or false, or text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _places(
    node: Node, location: Location, values: dict[Location, tuple[int, int]], keys: dict[Location, tuple[int, int]]
) -> None:
    """Line and column (from 1) of every value and key below `node`."""
    values[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inside = (*location, key.value if isinstance(key, ScalarNode) else str(key))
            keys[inside] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _places(value, inside, values, keys)
    elif isinstance(node, SequenceNode):
        for number, value in enumerate(node.value):
            _places(value, (*location, number), values, keys)


def _together(problems: list[ConfigError]) -> ConfigError:
    """All problems as one error: the first one's place, the others a line each."""
    first = problems[0]
    if len(problems) == 1:
        return first
    rest = "\n".join(str(problem) for problem in problems[1:])
    hint = f"{first.hint or ''}\n{rest}"
    return ConfigError(first.message, file=first.file, line=first.line, column=first.column, hint=hint)


def _yaml_error(file: Path, error: MarkedYAMLError, message: str, hint: str | None) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
    return ConfigError(message, file=str(file), line=line, column=column, hint=hint)


def _quoted(problem: str) -> str:
    match = re.search(r'duplicate key "([^"]*)"', problem)
    return repr(match[1]) if match else "here"


def _at(data: Any, location: Location) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _kind(value: Any) -> str:
    """What a value is, never what it says: it could be a secret."""
    names = {
        type(None): "nothing",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(type(value), type(value).__name__)
