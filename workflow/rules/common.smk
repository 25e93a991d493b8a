# What the rules share: checked parameters, and what dvc.yaml says of a stage's sources and settings.
import re
import sys
from pathlib import Path

from relalign.orchestration import dvc_sync, prepared
from relalign.system.artifacts import canonical_json, sha256_file
from relalign.errors import RelalignError
from relalign.settings import parse_params
from relalign.settings.methods import taught_by
from relalign.orchestration.method_identity import method_identity
from relalign.orchestration.pipeline import Pipeline

if workflow.config_settings.overwrite_config:
    raise RelalignError("--config and --configfile do not reach the stages: edit params.yaml instead.")
deployed_by = {str(method) for method in workflow.deployment_settings.deployment_method}
if deployed_by - {"apptainer"}:
    raise RelalignError(
        "--sdm takes apptainer alone here; else `make` builds the environment (.venv) from the lock files."
    )
params_checked = parse_params(config)
validate(config, "../schemas/params.schema.yaml", set_default=False)
pipeline = Pipeline(config)

# A training in several processes needs the threads, and the memory, of each.
TOGETHER = params_checked.training.processes


def sources(group):
    """The source files that dvc.yaml names for a stage."""
    return pipeline.stage(group, pipeline.items(group)[0]).sources


def settings(group):
    """The parameters that dvc.yaml names for a stage, as one canonical text, so that only their values count."""
    return lambda wildcards: pipeline.settings(pipeline.stage(group, wildcards))


def identity(method):
    """What a method amounts to, as one text: its settings with all defaults, and the code of its training."""
    return canonical_json(method_identity(params_checked, method))


def features(wildcards):
    """Both encoders' features of the dataset."""
    return expand(
        "data/features/{dataset}/{encoder}",
        dataset=wildcards.dataset,
        encoder=[config["encoders"]["image"], config["encoders"]["text"]],
    )


def encoders(wildcards):
    """Both encoders, whose upper layers may train."""
    return expand("data/encoders/{encoder}", encoder=[config["encoders"]["image"], config["encoders"]["text"]])


def teachers(wildcards):
    """The trained teachers that a method asks for; mostly none."""
    sides = taught_by(params_checked.settings_of(wildcards.method))
    return expand(
        "data/teachers/{dataset}/{encoder}",
        dataset=wildcards.dataset,
        encoder=[config["encoders"][side] for side in sides],
    )


def everything():
    """All that the pipeline makes."""
    return [output for stage in pipeline.stages.values() for output in stage.outputs]


def growing(first):
    """Memory or time: a job that a cluster has killed for want of it gets twice, then three times as much."""
    return lambda wildcards, attempt: first * attempt


wildcard_constraints:
    dataset="|".join(map(re.escape, config["datasets"])),
    encoder="|".join(map(re.escape, config["encoder"])),
    method="|".join(map(re.escape, config["method"])),
    seed=r"\d+",


# `relalign` is found beside the Python that runs Snakemake, whether or not its environment is activated. An image has
# an environment of its own, in which the sources are those of this checkout too.
if deployed_by:
    shell.prefix('export PATH=/opt/relalign/.venv/bin:"$PATH" PYTHONPATH="$PWD/src"; ')
else:
    shell.prefix(f"export PATH='{Path(sys.executable).parent}':\"$PATH\"; ")


dvc_sync.start(workflow, pipeline)


onstart:
    prepared.start(workflow)
