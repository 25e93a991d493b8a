"""Nothing in the package can be made to run code by a file that it reads."""

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
YAML = {f"yaml.{name}" for name in ("Loader", "CLoader", "UnsafeLoader", "FullLoader", "unsafe_load", "full_load")}
METHODS = {"read_pickle", "to_pickle", "extractall", "load_module"}
CALLS = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}
BAD = """
import pickle
from joblib import load
from yaml import Loader
class Keys(yaml.UnsafeLoader): pass
yaml.full_load(text)
torch.load(path)
torch.load(path, weights_only=False)
np.load(path)
np.load(path, allow_pickle=True)
pd.read_pickle(path)
archive.extractall(path)
AutoModel.from_pretrained(path, trust_remote_code=True)
eval(text)
"""


def unsafe(source: str) -> list[str]:
    """The lines that could run what a file says."""
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if _is_unsafe(node)]


def _is_unsafe(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(alias.name.split(".")[0] in MODULES for alias in names)
        case ast.ImportFrom(module=str(module)):
            return module.split(".")[0] in {*MODULES, "yaml"}
        case ast.Attribute(attr=name):
            return name in METHODS or ast.unparse(node) in YAML
        case ast.Call(func=function, keywords=keywords):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
            key, value = CALLS.get(ast.unparse(function), ("", ""))
            return (
                given.get(key, "") != value
                or given.get("trust_remote_code", "False") != "False"
                or ast.unparse(function) in {"eval", "exec"}
            )
    return False


def test_no_source_unpickles_loads_unsafe_yaml_or_runs_code_that_a_file_brings() -> None:
    found = {path.name: unsafe(path.read_text(encoding="utf-8")) for path in sorted(SOURCES.rglob("*.py"))}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("line", BAD.strip().splitlines())
def test_the_check_knows_what_is_unsafe(line: str) -> None:
    assert unsafe(line)


def test_the_check_lets_safe_loading_pass() -> None:
    assert not unsafe(
        "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)\nyaml.safe_load(text)"
    )
