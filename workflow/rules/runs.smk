# One method with one seed: train, export, evaluate.


rule train:
    input:
        sources("train"),
        features,
        pairs="data/pairs/{dataset}",
    output:
        directory("results/{dataset}/{method}/seed{seed}/model"),
    log:
        "logs/{dataset}/train/{method}-seed{seed}.log",
    benchmark:
        "logs/{dataset}/train/{method}-seed{seed}.benchmark.tsv"
    threads: params_checked.training.threads
    resources:
        mem_mb=8000,
        runtime=600,
    params:
        settings=settings("train"),
    shell:
        "relalign stage train --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"


rule export:
    input:
        sources("export"),
        features,
        pairs="data/pairs/{dataset}",
        model="results/{dataset}/{method}/seed{seed}/model",
    output:
        directory("results/{dataset}/{method}/seed{seed}/embeddings"),
    log:
        "logs/{dataset}/export/{method}-seed{seed}.log",
    benchmark:
        "logs/{dataset}/export/{method}-seed{seed}.benchmark.tsv"
    threads: params_checked.training.threads
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings=settings("export"),
    shell:
        "relalign stage export --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"


rule evaluate:
    input:
        sources("evaluate"),
        features,
        pairs="data/pairs/{dataset}",
        model="results/{dataset}/{method}/seed{seed}/model",
        embeddings="results/{dataset}/{method}/seed{seed}/embeddings",
        relevance="data/relevance/{dataset}",
    output:
        metrics="results/{dataset}/{method}/seed{seed}/metrics.json",
        evaluation=directory("results/{dataset}/{method}/seed{seed}/evaluation"),
        receipt="results/{dataset}/.receipts/{method}-seed{seed}.json",
    log:
        "logs/{dataset}/evaluate/{method}-seed{seed}.log",
    benchmark:
        "logs/{dataset}/evaluate/{method}-seed{seed}.benchmark.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("evaluate"),
    shell:
        "relalign stage evaluate --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q} > {log:q} 2>&1"
