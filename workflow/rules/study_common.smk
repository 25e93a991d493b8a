# The study (study.yaml): tuning on validation, the methods and their ablations, the corruption sweep, the findings.
# Whoever has taken a method or dataset of it out of params.yaml can still run the pipeline, only not the study.
from relalign.study.settings import CLEAN, load_study, picture_names

try:
    study, problem = load_study(Path("study.yaml"), params_checked), ""
except RelalignError as error:
    study, problem = None, str(error)


def refused(wildcards):
    raise RelalignError(problem)


def canonical(*values):
    """Settings as one text, so that only their values count."""
    return canonical_json(values)


def shared_settings():
    """The model and the training, as far as tuning and variants do not change them."""
    return [config.get("backbone", {}), config.get("training", {}), study.training]


def earlier_trials(wildcards):
    """What a trial builds on: its method's trials before its axis."""
    return expand(
        "results/{dataset}/study/search/{method}-trial{trial}/seed{seed}/validation.json",
        dataset=wildcards.dataset,
        method=wildcards.method,
        trial=study.search.methods[wildcards.method].earlier(int(wildcards.trial)),
        seed=study.search.seed,
    )


def condition_features(wildcards):
    """Both encoders' features; those of the corrupted modality if the condition corrupts one."""
    clean = {side: f"data/features/{wildcards.dataset}/{config['encoders'][side]}" for side in ("image", "text")}
    side = wildcards.condition.partition("-")[0]
    if side in clean:
        clean[side] = f"data/study/{wildcards.dataset}/{wildcards.condition}/{config['encoders'][side]}"
    return list(clean.values())


def study_metrics():
    """One metrics.json for each run that the findings read."""
    run = "results/{dataset}/study/{condition}/{variant}/seed{seed}/metrics.json"
    main = [
        run.format(dataset=dataset, condition=CLEAN, variant=variant, seed=seed)
        for dataset in study.datasets
        for variant, seeds in study.runs_on(dataset).items()
        for seed in seeds
    ]
    sweep = [
        run.format(dataset=dataset, condition=condition, variant=variant, seed=seed)
        for dataset in study.datasets
        for condition in study.conditions(dataset)
        for variant in study.sweep.variants
        for seed in study.sweep.seeds
    ]
    return main + sweep
