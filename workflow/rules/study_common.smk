# The study (study.yaml): tuning on validation, the methods and their ablations, the corruption sweep, the findings.
# Whoever has taken a method or dataset of it out of params.yaml can still run the pipeline, only not the study.
from relalign.study.layout import search_condition
from relalign.study.kept import kept_settings, wanted_runs
from relalign.study.premise import kept_cuts, wanted_cuts
from relalign.study.record import current_search
from relalign.study.settings import CLEAN, PAGES, corruption_of, load_study, picture_names

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
    return [config.get("backbone", {}), study.backbone, config.get("training", {}), study.training]


def own(method):
    """A method's settings and code, without the model and the training, which the study has from `shared_settings`."""
    found = method_identity(params_checked, method)
    return found["settings"], found["code"]


def regime_searched(wildcards):
    """Whose search a trial is of: a regime's, or that on clean data."""
    return next(name for name in [CLEAN, *study.regimes] if search_condition(name) == wildcards.search)


def records_of(wildcards, method, trials):
    """What a search leaves of these trials of a method."""
    return expand(
        "results/{dataset}/study/{search}/{method}-trial{trial}/seed{seed}/validation.json",
        dataset=wildcards.dataset,
        search=wildcards.search,
        method=method,
        trial=trials,
        seed=study.search.seed,
    )


def earlier_trials(wildcards):
    """What a trial builds on: its method's trials before its axis."""
    tuning = study.tunings(regime_searched(wildcards))[wildcards.method]
    return records_of(wildcards, wildcards.method, tuning.earlier(int(wildcards.trial)))


def trial_start(wildcards):
    """The record that a regime's search starts from."""
    clean = current_search(params_checked, study, Path(), wildcards.dataset)
    return [] if regime_searched(wildcards) == CLEAN else [clean]


def trial_features(wildcards):
    """Both encoders' features, in a regime with the encoders that train above them."""
    regime = regime_searched(wildcards)
    return features(wildcards) if regime == CLEAN else below_cuts(wildcards, regime)


def below_cuts(wildcards, regime):
    """Both encoders' features below a regime's cuts, and the encoders."""
    cut = f"data/study/{wildcards.dataset}/{regime}/{{encoder}}"
    return expand(cut, encoder=config["encoders"].values()) + encoders(wildcards)


def every_trial(wildcards):
    """All trials of a dataset's search."""
    return [
        record
        for method, tuning in study.tunings(regime_searched(wildcards)).items()
        for record in records_of(wildcards, method, range(len(tuning.trials)))
    ]


def tuned(wildcards):
    """The record of the search: that of the results, else the kept one, if made with these settings; else a new one."""
    regime = study.search_of(wildcards.condition)
    return current_search(params_checked, study, Path(), wildcards.dataset, regime)


def condition_features(wildcards):
    """Both encoders' features; a regime has its own, a corruption those of the modality that it corrupts."""
    if wildcards.condition in study.regimes:
        return below_cuts(wildcards, wildcards.condition)
    clean = {side: f"data/features/{wildcards.dataset}/{config['encoders'][side]}" for side in ("image", "text")}
    side = wildcards.condition.partition("-")[0]
    if side in clean:
        clean[side] = f"data/study/{wildcards.dataset}/{wildcards.condition}/{config['encoders'][side]}"
    return list(clean.values())


def regime_of(condition, include):
    """Some settings of a regime, as a list of one; without a regime none."""
    regime = study.regimes.get(condition)
    return [regime.model_dump(include=include)] if regime else []


def study_metrics(wildcards):
    """One metrics.json for each run that the findings read, but for what is kept and has no results here."""
    run = "results/{dataset}/study/{condition}/{variant}/seed{seed}/metrics.json"
    return [
        metrics
        for dataset in study.datasets
        for kept in [kept_settings(Path(), dataset)]
        for ((variant, condition), seed), made_with in wanted_runs(params_checked, study, Path(), dataset).items()
        for metrics in [run.format(dataset=dataset, condition=condition, variant=variant, seed=seed)]
        if kept.get(((variant, condition), seed)) != made_with or Path(metrics).exists()
    ]


def premise_models(wildcards):
    """The models of the section `premise`, but for what is kept and has no results here."""
    path = "results/{dataset}/study/premise/{cut}/{method}/seed{seed}/model"
    return [
        model
        for dataset in (study.premise.datasets if study.premise else ())
        for kept in [kept_cuts(Path(), dataset)]
        for (cut, seed), made_with in wanted_cuts(params_checked, study, dataset).items()
        for model in [path.format(dataset=dataset, cut=cut, method=study.premise.method, seed=seed)]
        if kept.get((cut, seed)) != made_with or Path(model).exists()
    ]
