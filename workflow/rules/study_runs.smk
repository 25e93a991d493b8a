# The rules of the study, for a study.yaml that could be read.


wildcard_constraints:
    variant="|".join(map(re.escape, study.variants)),
    condition="|".join([CLEAN, r"(image|text)-[a-z]+-\d+", *study.regimes]),
    trial=r"\d+",
    search="|".join(map(search_condition, [CLEAN, *study.regimes])),
    cut="|".join(map(re.escape, study.premise.cuts)) if study.premise else "none",


rule study:
    input:
        "docs/findings.md",


rule study_trial:
    input:
        sources("evaluate"),
        trial_features,
        earlier_trials,
        trial_start,
        pairs="data/pairs/{dataset}",
    output:
        model=directory("results/{dataset}/study/{search}/{method}-trial{trial}/seed{seed}/model"),
        measured="results/{dataset}/study/{search}/{method}-trial{trial}/seed{seed}/validation.json",
    log:
        "logs/{dataset}/study/{search}/{method}-trial{trial}-seed{seed}.log",
    threads: TOGETHER * params_checked.training.threads
    resources:
        mem_mb=growing(TOGETHER * 8000),
        runtime=growing(600),
    params:
        settings=lambda wildcards: canonical(
            shared_settings(),
            own(wildcards.method),
            study.tunings(regime_searched(wildcards))[wildcards.method].trials[int(wildcards.trial)],
            *regime_of(regime_searched(wildcards), include={"image", "text", "change"}),
        ),
        regime=lambda wildcards: regime_searched(wildcards),
    shell:
        "relalign study trial --dataset {wildcards.dataset:q} --regime {params.regime:q}"
        " --method {wildcards.method:q} --trial {wildcards.trial:q} > {log:q} 2>&1"


rule study_gather:
    input:
        every_trial,
    output:
        "results/{dataset}/study/{search}.json",
    log:
        "logs/{dataset}/study/{search}.log",
    params:
        regime=lambda wildcards: regime_searched(wildcards),
    shell:
        "relalign study gather --dataset {wildcards.dataset:q} --regime {params.regime:q} > {log:q} 2>&1"


rule search:
    input:
        [
            f"results/{dataset}/study/{search_condition(regime)}.json"
            for dataset in study.datasets
            for regime in study.searched(dataset)
        ],
    log:
        "logs/search.log",
    shell:
        "relalign study keep > {log:q} 2>&1"


rule study_features:
    input:
        sources("features"),
        raw="data/raw/{dataset}",
        pairs="data/pairs/{dataset}",
        encoder="data/encoders/{encoder}",
    output:
        directory("data/study/{dataset}/{condition}/{encoder}"),
    log:
        "logs/{dataset}/study/{condition}/features-{encoder}.log",
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(600),
    params:
        settings=lambda wildcards: canonical(
            config["encoder"][wildcards.encoder], regime_of(wildcards.condition, include={"image", "text"})
        ),
    shell:
        "relalign study features --dataset {wildcards.dataset:q} --condition {wildcards.condition:q}"
        " --encoder {wildcards.encoder:q} > {log:q} 2>&1"


rule study_run:
    input:
        sources("evaluate"),
        condition_features,
        search=tuned,
        pairs="data/pairs/{dataset}",
        relevance="data/relevance/{dataset}",
    output:
        metrics="results/{dataset}/study/{condition}/{variant}/seed{seed}/metrics.json",
        model=directory("results/{dataset}/study/{condition}/{variant}/seed{seed}/model"),
        embeddings=directory("results/{dataset}/study/{condition}/{variant}/seed{seed}/embeddings"),
        evaluation=directory("results/{dataset}/study/{condition}/{variant}/seed{seed}/evaluation"),
    log:
        "logs/{dataset}/study/{condition}/{variant}-seed{seed}.log",
    threads: TOGETHER * params_checked.training.threads
    resources:
        mem_mb=growing(TOGETHER * 8000),
        runtime=growing(600),
    params:
        settings=lambda wildcards: canonical(
            shared_settings(),
            own(study.variants[wildcards.variant].of),
            study.variants[wildcards.variant].model_dump(exclude={"seeds", "datasets"}),
            study.sweep.change if corruption_of(wildcards.condition) else {},
            *regime_of(wildcards.condition, include={"image", "text", "change"}),
            config.get("evaluate", {}),
            study.evaluate,
        ),
    shell:
        "relalign study run --dataset {wildcards.dataset:q} --condition {wildcards.condition:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed:q} --search {input.search:q} > {log:q} 2>&1"


rule study_findings:
    input:
        study_metrics,
        [path for path in ("docs/findings-notes.md", "docs/study/earlier.csv") if Path(path).exists()],
        "study.yaml",
        expand(
            "src/relalign/study/{file}.py",
            file=(
                "claims",
                "contrast",
                "earlier",
                "findings",
                "judging",
                "kept",
                "pictures",
                "record",
                "results",
                "settings",
                "tables",
                "verdicts",
            ),
        ),
    # docs/study/*-runs.* are not named: Snakemake would remove what is kept there before the job could read it.
    output:
        "docs/findings.md",
        expand("docs/findings/{page}.md", page=PAGES),
        [
            f"docs/study/{name}.svg"
            for dataset in study.datasets
            for name in picture_names(study, dataset, params_checked.report.baseline)
        ],
    log:
        "logs/findings.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    shell:
        "relalign study findings > {log:q} 2>&1"


rule study_premise_features:
    input:
        sources("features"),
        raw="data/raw/{dataset}",
        pairs="data/pairs/{dataset}",
        encoders=expand("data/encoders/{encoder}", encoder=config["encoders"].values()),
    output:
        directory(expand("data/study/{{dataset}}/premise/{{cut}}/{encoder}", encoder=config["encoders"].values())),
    log:
        "logs/{dataset}/study/premise/features-{cut}.log",
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(600),
    params:
        settings=lambda wildcards: canonical(
            [config["encoder"][encoder] for encoder in config["encoders"].values()],
            study.premise.cuts[wildcards.cut].model_dump(include={"image", "text"}),
        ),
    shell:
        "relalign study premise-features --dataset {wildcards.dataset:q} --cut {wildcards.cut:q} > {log:q} 2>&1"


rule study_premise_run:
    input:
        sources("train"),
        expand("data/study/{{dataset}}/premise/{{cut}}/{encoder}", encoder=config["encoders"].values()),
        encoders=expand("data/encoders/{encoder}", encoder=config["encoders"].values()),
        pairs="data/pairs/{dataset}",
    output:
        directory("results/{dataset}/study/premise/{cut}/{method}/seed{seed}/model"),
    log:
        "logs/{dataset}/study/premise/{cut}-{method}-seed{seed}.log",
    threads: TOGETHER * params_checked.training.threads
    resources:
        mem_mb=growing(TOGETHER * 8000),
        runtime=growing(600),
    params:
        settings=lambda wildcards: canonical(
            shared_settings(),
            own(wildcards.method),
            study.premise.change,
            study.premise.cuts[wildcards.cut].model_dump(exclude={"seeds", "datasets"}),
        ),
    shell:
        "relalign study premise-run --dataset {wildcards.dataset:q} --cut {wildcards.cut:q}"
        " --seed {wildcards.seed:q} > {log:q} 2>&1"


rule premise:
    input:
        premise_models,
    log:
        "logs/premise.log",
    shell:
        "relalign study premise > {log:q} 2>&1"
