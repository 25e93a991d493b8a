"""dvc.yaml read once for both tools: each stage's sources, settings and outputs, for the Snakemake rules and sync.

Only what this project's dvc.yaml uses is understood: stages with a `matrix`, and `${...}` naming a value of
params.yaml or of the matrix item. A test compares the result with DVC's own reading.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from relalign.system.artifacts import canonical_json

_REFERENCE = re.compile(r"\$\{([\w.-]+)\}")


@dataclass(frozen=True)
class Stage:
    """One resolved stage: paths relative to the project, and the dotted keys of params.yaml it depends on."""

    name: str
    dependencies: tuple[str, ...]
    settings: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def sources(self) -> list[str]:
        """The files that people write among the dependencies; a folder stands for all files in it."""
        return [
            file
            for path in self.dependencies
            if not path.startswith(("data/", "results/", "docs/"))
            for file in _files(Path(path))
        ]

    def reads_any(self, outputs: Iterable[str]) -> bool:
        """Whether one of the outputs is, or lies in, a dependency of this stage."""
        return any(f"{output}/".startswith(f"{path}/") for output in outputs for path in self.dependencies)


class Pipeline:
    """The stages of `<root>/dvc.yaml` as they are with these (raw, unfilled) parameters."""

    def __init__(self, parameters: Mapping[str, Any], root: Path = Path()) -> None:
        self.parameters = parameters
        self._templates: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        self.stages = {
            stage.name: stage
            for group in self._templates
            for stage in map(self._resolver(group), self.items(group))
        }

    def items(self, group: str) -> list[dict[str, Any]]:
        """The matrix items of a group of stages: `[{"method": "cca", "seed": 0}, ...]`."""
        axes: dict[str, Any] = {
            key: self._value(values) if isinstance(values, str) else [self._value(value) for value in values]
            for key, values in self._templates[group]["matrix"].items()
        }
        return [dict(zip(axes, item, strict=True)) for item in product(*axes.values())]

    def stage(self, group: str, item: Mapping[str, Any]) -> Stage:
        """The stage of a group for one item (Snakemake's wildcards): any dataset's, not only the chosen one's."""
        axes = self._templates[group]["matrix"]
        return self._resolver(group)({key: item[key] for key in axes})

    def settings(self, stage: Stage) -> str:
        """The values of a stage's settings as canonical JSON; 1.0 and 1 are equal, as they are to DVC."""
        return canonical_json(
            {key: _without_float_zeros(_look_up(self.parameters, key)) for key in stage.settings}
        )

    def with_descendants(self, names: Set[str]) -> set[str]:
        """The named stages and all that follow from them."""
        found: set[str] = set()
        new = set(names)
        while new:
            found |= new
            made = [output for name in new for output in self.stages[name].outputs]
            new = {name for name, stage in self.stages.items() if stage.reads_any(made)} - found
        return found

    def sources_digest(self) -> str:
        """One hash of the sources of all stages, params.yaml among them."""
        whole = hashlib.sha256()
        for file in sorted({file for stage in self.stages.values() for file in stage.sources}):
            whole.update(file.encode() + b"\0" + Path(file).read_bytes() + b"\0")
        return whole.hexdigest()

    def _resolver(self, group: str) -> Callable[[Mapping[str, Any]], Stage]:
        template = self._templates[group]

        def resolve(item: Mapping[str, Any]) -> Stage:
            def texts(*keys: str) -> tuple[str, ...]:
                return tuple(self._text(text, item) for key in keys for text in template.get(key, ()))

            name = f"{group}@{'-'.join(map(str, item.values()))}"
            return Stage(name, texts("deps"), texts("params"), texts("outs", "metrics"))

        return resolve

    def _value(self, text: str) -> Any:
        reference = _REFERENCE.fullmatch(text)
        return _look_up(self.parameters, reference[1]) if reference else text

    def _text(self, text: str, item: Mapping[str, Any]) -> str:
        known = {**self.parameters, "item": item}
        return _REFERENCE.sub(lambda reference: str(_look_up(known, reference[1])), text)


def _look_up(values: Any, key: str) -> Any:
    """`_look_up({"a": {"b": 1}}, "a.b")` is 1; None where there is no such key."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _without_float_zeros(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_float_zeros(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_float_zeros(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _files(path: Path) -> list[str]:
    if not path.is_dir():
        return [path.as_posix()]
    inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [file.as_posix() for file in inside]
