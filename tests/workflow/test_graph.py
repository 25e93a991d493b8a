"""Rules, DVC's stages and the layout describe one graph, and a stage names every source its result depends on."""

import ast
import inspect
import re
from pathlib import Path
from typing import get_args, get_origin

import pytest
import yaml

from relalign.layout import Layout
from relalign.methods import TRAINED
from relalign.orchestration.method_identity import CODE, method_identity
from relalign.orchestration.pipeline import Pipeline, Stage
from relalign.settings import Params, load_params, parse_params
from relalign.settings.reference import params_reference, params_schema
from relalign.settings.section import Section
from tests.workflow.clone import REPOSITORY, Clone

# Modules that check, record, move or report bytes, but do not make them what they are. (download and extract do
# only where they unpack: there the download stages name them.)
INFRASTRUCTURE = {"relalign", "relalign/data/download", "relalign/data/extract", "relalign/data/transfer"}
INFRASTRUCTURE |= {f"relalign/{name}" for name in ("cli", "errors", "layout", "commands/stages")}
ROOMS_OF_INFRASTRUCTURE = ("orchestration", "settings", "system", "tracking")
ENTRIES = {
    "download": "data/download",
    "download_encoder": "features/encoders",
    "validate": "data/validation",
    "relevance": "retrieval/relevance_files",
    "features": "features/extraction",
    "teacher": "teachers/stage",
    "train": "training/runs",
    "export": "training/runs",
    "evaluate": "evaluation/stage",
    "compare": "comparison/stage",
    "report": "report",
}
CHOSEN_AT_RUN_TIME = {"validate": {f"relalign/data/readers/{name}" for name in ("openmoji", "karpathy", "table")}}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(yaml.safe_load((REPOSITORY / "params.yaml").read_text()), REPOSITORY)


@pytest.fixture(scope="module")
def taught_pipeline() -> Pipeline:
    """The same with both teachers trained."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    return Pipeline(params | {"teacher": {"encoders": [*params["encoders"].values()]}}, REPOSITORY)


def test_pipeline_reads_dvc_yaml_as_dvc_does(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(REPOSITORY)
    stages = {}
    for stage in Repo().index.stages:
        paths = [dep.def_path for dep in stage.deps if not hasattr(dep, "params")]
        keys = [key for dep in stage.deps for key in getattr(dep, "params", ())]
        stages[stage.name] = (set(paths), set(keys), {out.def_path for out in stage.outs})
    assert stages == {
        name: (set(stage.dependencies), set(stage.settings), set(stage.outputs))
        for name, stage in pipeline.stages.items()
    }


@pytest.mark.workflow
def test_rules_and_stages_describe_one_graph(made_project: Clone) -> None:
    parameters = yaml.safe_load((made_project.root / "params.yaml").read_text())
    stages = Pipeline(parameters, made_project.root).stages
    listing = made_project.snakemake("--dry-run", "--forceall")
    jobs = {
        frozenset(outputs.split(", ")): set(inputs.split(", "))
        for inputs, outputs in re.findall(r"^(?: {4}input: (.*)\n)? {4}output: (.*)$", listing, re.M)
    }
    assert jobs.keys() == {frozenset(stage.outputs) for stage in stages.values()}
    for stage in stages.values():
        if stage.name.startswith("method@"):
            continue  # Snakemake compares what the sources and settings amount to, by value
        inputs = jobs[frozenset(stage.outputs)]
        expected = _with_folders_opened(stage, made_project.root)
        made = {name for name in inputs if name.startswith(("data/", "results/"))}
        written = {name for name in expected if not name.startswith(("data/", "results/"))}
        # The study's pictures: Snakemake compares their hashes, by value, as the study makes them itself.
        assert inputs - made == {name for name in written if not name.startswith("docs/study/")}
        assert _makers(stages, made) == _makers(stages, set(stage.dependencies)), stage.name


def _with_folders_opened(stage: Stage, root: Path) -> set[str]:
    opened = set()
    for name in stage.dependencies:
        inside = [
            file for file in (root / name).rglob("*") if file.is_file() and file.parent.name != "__pycache__"
        ]
        opened |= {file.relative_to(root).as_posix() for file in inside} or {name}
    return opened


def _makers(stages: dict[str, Stage], paths: set[str]) -> set[str]:
    """The stages that make these paths, or what lies in these folders."""
    return {
        name
        for name, stage in stages.items()
        if any(f"{output}/".startswith(f"{path}/") for output in stage.outputs for path in paths)
    }


def test_outputs_lie_where_the_layout_says(pipeline: Pipeline) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    layout = Layout(Path(), params.dataset)
    encoders = (params.encoders.image, params.encoders.text)
    wanted = [layout.raw, layout.pairs, layout.relevance, *map(layout.encoder, encoders)]
    wanted += map(layout.features, encoders)
    wanted += [
        layout.results / name
        for name in (
            "comparison.csv",
            "training.csv",
            "recall.csv",
            "report.html",
            "params.json",
            "comparison.svg",
            "examples.svg",
        )
    ]
    wanted += map(layout.method, params.methods)
    for method in params.methods:
        for seed in params.seeds:
            parts = ("model", "embeddings", "evaluation", "metrics.json", "summary.json")
            wanted += [layout.run(method, seed) / part for part in parts] + [layout.receipt(method, seed)]
    outputs = [output for stage in pipeline.stages.values() for output in stage.outputs]
    assert sorted(outputs) == sorted(path.as_posix() for path in wanted)


def test_no_training_depends_on_what_is_made_of_the_test_split(pipeline: Pipeline) -> None:
    stages = pipeline.stages.values()
    needed = [stage for stage in stages if stage.name.startswith("train@")]
    for stage in needed:  # which grows by what each of them needs
        needed += [made for made in stages if made not in needed and stage.reads_any(made.outputs)]
    groups = {stage.name.split("@")[0] for stage in needed}
    assert groups == {"train", "method", "features", "validate", "download", "download_encoder"}


def test_no_teacher_is_in_the_graph_unless_it_is_asked_for(pipeline: Pipeline, taught_pipeline: Pipeline) -> None:
    added = taught_pipeline.stages.keys() - pipeline.stages.keys()
    assert added == {"teacher@openmoji-efficientnet-lite0", "teacher@openmoji-all-minilm-l6-v2"}
    assert load_params(REPOSITORY / "params.yaml").teacher.encoders == ()


def test_methods_follow_from_teachers_and_teachers_not_from_the_test_splits_relevance(
    taught_pipeline: Pipeline,
) -> None:
    stages = taught_pipeline.stages
    teachers = {name for name in stages if name.startswith("teacher@")}
    later = {name.split("@")[0] for name in taught_pipeline.with_descendants(teachers)}
    assert {"method", "train", "export", "evaluate"} <= later
    assert not teachers & taught_pipeline.with_descendants({"relevance@openmoji"})
    assert stages["teacher@openmoji-all-minilm-l6-v2"].outputs == ("data/teachers/openmoji/all-minilm-l6-v2",)


@pytest.mark.parametrize("group", ENTRIES)
def test_stage_names_every_source_it_imports(taught_pipeline: Pipeline, group: str) -> None:
    stage = taught_pipeline.stage(group, taught_pipeline.items(group)[0])
    imported = _imports(f"relalign/{ENTRIES[group]}") | CHOSEN_AT_RUN_TIME.get(group, set())
    needed = {_file(module) for module in imported if not _is_infrastructure(module)}
    if any(path.endswith("/method.json") for path in stage.dependencies):  # which has the hash of this code
        needed -= {file for file in needed if _in_identity(file) or file.startswith("src/relalign/methods/")}
    listed = [path for path in stage.dependencies if path.startswith("src/") and "/settings/" not in path]
    missing = {file for file in needed if not any(f"{file}/".startswith(f"{path}/") for path in listed)}
    assert not missing, f"dvc.yaml: add to the deps of '{group}'"
    idle = {path for path in listed if not any(f"{_file(m)}/".startswith(f"{path}/") for m in imported)}
    assert not idle, f"dvc.yaml: remove from the deps of '{group}', which does not import it"


def test_stage_names_the_file_that_has_the_defaults_of_its_settings(taught_pipeline: Pipeline) -> None:
    fields = {field.alias or name: field.annotation for name, field in Params.model_fields.items()}
    for stage in taught_pipeline.stages.values():
        for key in stage.settings:
            annotation = fields[key.split(".")[0]]
            section = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
            if inspect.isclass(section) and issubclass(section, Section):
                file = f"src/{section.__module__.replace('.', '/')}.py"
                assert file in stage.dependencies, f"{stage.name}: the defaults of '{key}'"


@pytest.mark.parametrize("algorithm", ["cca", *TRAINED])
def test_identity_of_a_method_covers_the_code_that_its_training_imports(algorithm: str) -> None:
    modules = _imports("relalign/training/runs") | _imports(f"relalign/methods/{algorithm}")
    files = {_file(module) for module in modules if not _is_infrastructure(module)}
    of_methods = {"__init__", *TRAINED} - {algorithm}  # which only choose, or are not chosen
    files -= {f"src/relalign/methods/{name}.py" for name in of_methods - {"cca"}}
    assert not {
        file for file in files if not _in_identity(file) and file != f"src/relalign/methods/{algorithm}.py"
    }


def test_dvc_asks_for_the_identity_again_when_its_code_or_settings_change(pipeline: Pipeline) -> None:
    listed = pipeline.stages["method@openmoji-cca"].dependencies
    assert {"params.yaml", "src/relalign/settings"} <= set(listed)
    assert not {name for name in CODE if not any(f"src/relalign/{name}".startswith(path) for path in listed)}


def _in_identity(file: str) -> bool:
    return file.removeprefix("src/relalign/").startswith(tuple(CODE))


def test_only_the_entries_that_differ_have_another_identity() -> None:
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    before = parse_params(raw)
    raw["method"]["covlr"]["step_size"] = 0.5
    after = parse_params(raw)
    changed = {name for name in before.method if method_identity(before, name) != method_identity(after, name)}
    assert changed == {"covlr", "covlr-cosine"}


def _is_infrastructure(module: str) -> bool:
    return module in INFRASTRUCTURE or module.split("/")[1] in ROOMS_OF_INFRASTRUCTURE


def _file(module: str) -> str:
    package = REPOSITORY / "src" / module / "__init__.py"
    return f"src/{module}/__init__.py" if package.exists() else f"src/{module}.py"


def _imports(entry: str) -> set[str]:
    """The project's modules that a module imports, in functions too, and those that they import."""
    found: set[str] = set()
    new = {entry}
    while new:
        found |= new
        direct = {name for module in new - _stops(new) for name in _direct_imports(module)}
        new = {module for module in direct if (REPOSITORY / _file(module)).exists()} - found
    return found


def _stops(modules: set[str]) -> set[str]:
    return {module for module in modules if _is_infrastructure(module) and module != "relalign/data/download"}


def _direct_imports(module: str) -> set[str]:
    tree = ast.parse((REPOSITORY / _file(module)).read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names = {
        f"{node.module}.{alias.name}" if alias.name else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing_only
        for alias in (*node.names, ast.alias(""))
    }
    return {name.replace(".", "/") for name in names if name and name.split(".")[0] == "relalign"}


def test_equal_values_are_equal_settings() -> None:
    texts = []
    for seed, depth in ((1, 1.0), (1.0, 1)):
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        pipeline = Pipeline({**params, "evaluate": {"b": [depth], "a": seed}}, REPOSITORY)
        texts.append(pipeline.settings(pipeline.stages["evaluate@openmoji-cca-0"]))
    assert texts[0] == texts[1]
    assert '"evaluate":{"a":1,"b":[1]}' in texts[0]


def test_committed_reference_is_the_one_of_the_code_and_explains_every_key() -> None:
    committed = (REPOSITORY / "docs/params.md").read_text()
    assert committed == params_reference(), "run: relalign reference > docs/params.md"
    rows = [line.split(" | ") for line in committed.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row[0] for row in rows if not row[3].strip()]


def test_committed_schema_is_the_one_of_the_code() -> None:
    committed = yaml.safe_load((REPOSITORY / "workflow/schemas/params.schema.yaml").read_text())
    assert committed == params_schema(), "run: relalign schema > workflow/schemas/params.schema.yaml"


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"training": {"epochs": 3, "epoch": 4}}, "training.epoch:"),
        ({"training": {"epochs": "many"}}, "training.epochs:"),
        ({"method": {"cca": {"algorithm": "cca", "widht": 3}}}, "method.cca.widht:"),
        ({"extra": 1}, "extra:"),
    ],
)
def test_wrong_key_fails_before_any_job_and_is_named(
    project: Clone, section: dict[str, object], path: str
) -> None:
    before = project.contents()
    project.edit_params(**section)
    for output in (project.snakemake(succeeds=False), project.dvc("repro", succeeds=False)):
        assert f"params.yaml: {path}" in output
    assert project.contents().items() <= before.items() | {("", "")}


@pytest.mark.workflow
def test_override_on_the_command_line_is_refused(project: Clone) -> None:
    assert "edit params.yaml" in project.snakemake("--config", "dataset=other", succeeds=False)


@pytest.mark.workflow
def test_workflow_passes_its_linters(made_project: Clone) -> None:
    assert "in a good condition" in made_project.run("snakemake", "--lint")
    made_project.run("snakefmt", "--check", "Snakefile", "workflow")


@pytest.mark.workflow
def test_slurm_profile_plans_all_jobs(made_project: Clone) -> None:
    plan = made_project.run("snakemake", "--profile", "profiles/slurm", "--dry-run", "--forceall")
    assert "write_report" in plan


@pytest.mark.workflow
def test_a_training_in_two_processes_claims_the_threads_of_both(project: Clone) -> None:
    project.edit_params(training={"processes": 2, "threads": 3})
    plan = project.run("snakemake", "--cores", "16", "--dry-run", "--forceall")
    for job in plan.split("\n\n"):
        if "rule train:" in job:
            assert "threads: 6" in job
            assert "mem_mb=16000" in job
    assert "rule train:" in plan
