"""Reading params.yaml: an unknown key, a wrong type or an impossible value names its path."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from relalign.errors import RelalignError
from relalign.settings.params import Params

# What YAML's loader makes of bad bytes, of a date or number that is none, and of a file that is nested too deeply.
UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which would otherwise let a later key silently win over an earlier equal one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                break  # which the safe loader refuses in its own words
            if key in seen:
                raise RelalignError(
                    f"{key_node.start_mark.name}: line {key_node.start_mark.line + 1}: '{key}' stands twice."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_params(path: Path) -> Params:
    """Read and check a params file. Raises `RelalignError` with one line for every wrong key."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise RelalignError(
            f"{path} does not exist. Run from the project's folder, or name it with --params."
        ) from None
    except (*UNREADABLE, IsADirectoryError) as error:
        raise RelalignError(f"{path} is not valid YAML: {error}") from None
    return parse_params(raw, origin=str(path))


def parse_params(raw: Any, *, origin: str = "params.yaml") -> Params:
    """Check a mapping as `load_params` does; `origin` names it in errors."""
    if isinstance(raw, Mapping) and isinstance(raw.get("method"), Mapping):
        try:
            raw = {**raw, "method": {name: inherited(raw["method"], name) for name in raw["method"]}}
        except ValueError as error:
            raise RelalignError(f"{origin}: {error}") from None
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [explain(item) for item in error.errors()]
        raise RelalignError("\n".join(f"{origin}: {line}" for line in lines)) from None


def inherited(methods: Mapping[str, Any], name: str, *, asked_by: tuple[str, ...] = ()) -> Any:
    """An entry of `method`, with what it takes over through `of` filled in.

    `inherited({"a": {"algorithm": "cca", "width": 9}, "b": {"of": "a", "width": 8}}, "b")` is
    `{"algorithm": "cca", "width": 8}`. Raises `ValueError` if `of` names no entry, or leads back to itself.
    """
    entry = methods[name]
    if not isinstance(entry, Mapping) or "of" not in entry:
        return entry
    base, asked_by = entry["of"], (*asked_by, name)
    if base in asked_by:
        raise ValueError(f"method.{asked_by[0]}.of: leads back to itself ({' -> '.join((*asked_by, base))})")
    if base not in methods:
        raise ValueError(f"method.{name}.of: '{base}' is not an entry of 'method' ({', '.join(sorted(methods))})")
    taken_over = inherited(methods, base, asked_by=asked_by)
    own = {key: value for key, value in entry.items() if key != "of"}
    return {**taken_over, **own} if isinstance(taken_over, Mapping) else taken_over


def explain(error: Any) -> str:
    """One of pydantic's errors as a line that names the key."""
    location = [str(part) for part in error["loc"]]
    if location[:1] == ["method"]:
        del location[2:3]  # pydantic puts the chosen algorithm here, which is no key of the file
    if error["type"] == "unknown_key":
        location.append(error["ctx"]["key"])
    text = f"{'.'.join(location)}: {error['msg']}".removeprefix(": ").replace("Value error, ", "")
    given = error.get("input")
    if isinstance(given, str) and error["type"] in {"float_type", "int_type"}:
        text += f" (it is the text '{given}'; YAML reads 1.0e-4, not 1e-4, as a number)"
    return text
