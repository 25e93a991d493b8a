# The pipeline. `snakemake --cores all` makes everything; dvc.yaml describes the same graph to DVC.
from snakemake.utils import min_version, validate

min_version("9.27")


configfile: "params.yaml"


# With `--sdm apptainer` alone, built from containers/relalign.def; else jobs run in the environment of `make`.
container: "containers/relalign.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"


if params_checked.teacher.encoders:

    include: "workflow/rules/teachers.smk"


include: "workflow/rules/results.smk"
include: "workflow/rules/study_common.smk"
include: "workflow/rules/study.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    # Intermediates too: after a failed job, what only follows from them could otherwise pass for up to date.
    input:
        everything(),
