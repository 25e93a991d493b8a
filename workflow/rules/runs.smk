# One method with one seed: train, export, evaluate.


# What dvc.yaml makes of files, the settings and the code behind them, Snakemake compares by value.
rule method:
    input:
        teachers,
    output:
        "results/{dataset}/{method}/method.json",
    log:
        "logs/{dataset}/{method}.log",
    localrule: True
    params:
        identity=lambda wildcards: identity(wildcards.method),
    shell:
        "relalign stage method --dataset {wildcards.dataset:q} --method {wildcards.method:q} > {log:q} 2>&1"


rule train:
    input:
        features,
        encoders,
        pairs="data/pairs/{dataset}",
        method="results/{dataset}/{method}/method.json",
    output:
        directory("results/{dataset}/{method}/seed{seed}/model"),
    log:
        "logs/{dataset}/train/{method}-seed{seed}.log",
    threads: TOGETHER * params_checked.training.threads
    resources:
        mem_mb=growing(TOGETHER * 8000),
        runtime=growing(600),
    shell:
        "relalign stage train --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"


rule export:
    input:
        sources("export"),
        features,
        pairs="data/pairs/{dataset}",
        method="results/{dataset}/{method}/method.json",
        model="results/{dataset}/{method}/seed{seed}/model",
    output:
        directory("results/{dataset}/{method}/seed{seed}/embeddings"),
    log:
        "logs/{dataset}/export/{method}-seed{seed}.log",
    threads: params_checked.training.threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("export"),
    shell:
        "relalign stage export --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"


rule evaluate:
    input:
        sources("evaluate"),
        features,
        pairs="data/pairs/{dataset}",
        method="results/{dataset}/{method}/method.json",
        model="results/{dataset}/{method}/seed{seed}/model",
        embeddings="results/{dataset}/{method}/seed{seed}/embeddings",
        relevance="data/relevance/{dataset}",
    output:
        metrics="results/{dataset}/{method}/seed{seed}/metrics.json",
        summary="results/{dataset}/{method}/seed{seed}/summary.json",
        evaluation=directory("results/{dataset}/{method}/seed{seed}/evaluation"),
        receipt="results/{dataset}/.receipts/{method}-seed{seed}.json",
    log:
        "logs/{dataset}/evaluate/{method}-seed{seed}.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("evaluate"),
    shell:
        "relalign stage evaluate --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"
