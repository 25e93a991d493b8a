"""Nothing in the package can be made to run code by a file that it reads."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_REASON = re.compile(r"#\s*noqa\b(?!: [A-Z0-9, ]+ \(.+\))")
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
AutoTokenizer.from_pretrained(path)
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
                or (ast.unparse(function).endswith(".from_pretrained") and "trust_remote_code" not in given)
                or ast.unparse(function) in {"eval", "exec"}
            )
    return False


def test_no_source_unpickles_loads_unsafe_yaml_or_runs_code_that_a_file_brings() -> None:
    found = {path.name: unsafe(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "src").rglob("*.py"))}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("line", BAD.strip().splitlines())
def test_the_check_knows_what_is_unsafe(line: str) -> None:
    assert unsafe(line)


def test_the_check_lets_safe_loading_pass() -> None:
    assert not unsafe(
        "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)\nyaml.safe_load(text)"
    )


def test_every_exemption_from_a_lint_rule_names_the_rule_and_says_why() -> None:
    files = [path for folder in ("src", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    lines = [(path, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    found = [(path.name, line) for path, line in lines if WITHOUT_REASON.search(line) and "re.compile" not in line]
    assert found == []
