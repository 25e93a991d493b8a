"""What is generated from the sections: the JSON schema of params.yaml, and docs/params.md, a line for each key."""

import ast
import inspect
import sys
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from relalign.settings.methods import ALGORITHMS, BuiltIn
from relalign.settings.params import Params
from relalign.settings.section import Section

_HEAD = """# Every key of params.yaml

Made by `relalign reference`; `make lint` checks that it is up to date. A key that you leave out has its default. A
key that is not here is an error that names it. As a source, `released` and `abstract` are the paper's own code and
its abstract; without a source, the value is relalign's own or the field's habit.
"""


def params_schema() -> dict[str, Any]:
    """The JSON schema of params.yaml, for Snakemake's `validate` and for editors."""
    schema = Params.model_json_schema(by_alias=True)
    inheriting = {"type": "object", "required": ["of"], "properties": {"of": {"type": "string"}}}
    # An algorithm that someone has added is checked when its file is read.
    other = {"type": "string", "not": {"enum": [*ALGORITHMS]}}
    added = {"type": "object", "required": ["algorithm"], "properties": {"algorithm": other}}
    entries = schema["properties"]["method"]["patternProperties"]
    for pattern, complete in entries.items():
        entries[pattern] = {"anyOf": [complete, inheriting, added]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def params_reference() -> str:
    """docs/params.md: a table a section, a row a key: default, range, meaning with unit, source."""
    return "\n".join([_HEAD, *(_table(key, section) for key, section in _sections())])


def _sections() -> Iterator[tuple[str, type[Section]]]:
    """Every section with the path of its keys, in the order of params.yaml."""
    yield "", Params
    for name, field in Params.model_fields.items():
        key = field.alias or name
        if name == "method":
            for one in get_args(BuiltIn):
                yield f"method.<name> (algorithm: {get_args(one.model_fields['algorithm'].annotation)[0]})", one
        elif inner := _inner(field.annotation):
            path = _path(key, field)
            yield path, inner
            for member, deeper in inner.model_fields.items():
                if section := _inner(deeper.annotation):
                    yield f"{path}.{_path(member, deeper)}", section


def _path(key: str, field: FieldInfo) -> str:
    return f"{key}.<name>" if get_origin(field.annotation) is dict else key


def _inner(annotation: Any) -> type[Section] | None:
    """The section that a type is, or holds."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part))), None)


def _table(path: str, section: type[Section]) -> str:
    title = f"## `{path}`" if path else "## At the top"
    lines = [title, "", f"{(inspect.getdoc(section) or '').splitlines()[0]}", ""]
    lines += ["| key | default | range | what it is | unit | source |", "| --- | --- | --- | --- | --- | --- |"]
    texts = _texts(section)
    for name, field in section.model_fields.items():
        meaning, unit, source = _parts(texts[name])
        cells = (
            f"`{field.alias or name}`",
            _default(field),
            _range(field.annotation, field),
            meaning,
            unit,
            source,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _texts(section: type[Section]) -> dict[str, str]:
    """The docstring below each key."""
    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(sys.modules[section.__module__])).body
        if isinstance(node, ast.ClassDef) and node.name == section.__name__
    )
    return {
        key.target.id: inspect.cleandoc(str(text.value.value)).replace("\n", " ")
        for key, text in zip(body, body[1:], strict=False)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _parts(text: str) -> tuple[str, str, str]:
    """`"What. Unit: pixels. Source: X."` -> `("What.", "pixels", "X")`."""
    text, _, source = text.partition("Source: ")
    text, _, unit = text.partition("Unit: ")
    return text.strip(), unit.strip().rstrip("."), source.strip().rstrip(".")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    if isinstance(field.default, Section):
        return "see below"
    if field.default is None:
        return "none"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(annotation: Any, field: FieldInfo | None = None) -> str:
    """What values a key takes, as words."""
    origin, members = get_origin(annotation), get_args(annotation)
    limits = _limits(field.metadata if field else ())
    if origin is Annotated:
        limits += _limits([item for one in members[1:] for item in getattr(one, "metadata", [one])])
        text = _range(members[0])
    elif origin is Literal:
        text = ", ".join(f"`{value}`" for value in members)
    elif origin is tuple:
        text = f"a list: {_range(members[0])}"
    elif origin is dict:
        text = "entries by name"
    elif origin in (Union, UnionType):
        text = " or ".join("none" if one is type(None) else _range(one) for one in members)
    elif inspect.isclass(annotation) and issubclass(annotation, Section):
        text = "a section"
    else:
        text = {int: "whole number", float: "number", bool: "true, false", str: "text"}[annotation]
    return " ".join(part for part in (text, ", ".join(limits)) if part)


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _limits(metadata: Any) -> list[str]:
    found = []
    for item in metadata:
        found += [f"{sign} {getattr(item, name):g}" for name, sign in _SIGNS.items() if hasattr(item, name)]
        if hasattr(item, "multiple_of"):
            found.append(f"a multiple of {item.multiple_of}")
        if pattern := getattr(item, "pattern", None):
            found.append(f"like `{pattern}`")
    return found
