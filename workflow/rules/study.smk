# The study (study.yaml): tuning on validation, the methods and their ablations, the corruption sweep, the findings.
# Whoever has taken a method or dataset of it out of params.yaml can still run the pipeline, only not the study.
from relalign.study.settings import load_study

try:
    study, problem = load_study(Path("study.yaml"), params_checked), ""
except RelalignError as error:
    study, problem = None, str(error)


if study is not None:

    include: "study_runs.smk"

else:

    def refused(wildcards):
        raise RelalignError(problem)

    rule study:
        input:
            refused,
