# From the sources to features: what all methods share.


rule params:
    input:
        sources("params"),
    output:
        "results/{dataset}/params.json",
    log:
        "logs/{dataset}/params.log",
    localrule: True
    shell:
        "relalign stage params --dataset {wildcards.dataset:q} > {log:q} 2>&1"


rule download:
    input:
        sources("download"),
    output:
        directory("data/raw/{dataset}"),
    log:
        "logs/{dataset}/download.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        settings=settings("download"),
    shell:
        "relalign stage download --dataset {wildcards.dataset:q} > {log:q} 2>&1"


rule download_encoder:
    input:
        sources("download_encoder"),
    output:
        directory("data/encoders/{encoder}"),
    log:
        "logs/encoders/{encoder}.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("download_encoder"),
    shell:
        "relalign stage download-encoder --encoder {wildcards.encoder:q} > {log:q} 2>&1"


rule validate:
    input:
        sources("validate"),
        raw="data/raw/{dataset}",
    output:
        directory("data/pairs/{dataset}"),
    log:
        "logs/{dataset}/validate.log",
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=settings("validate"),
    shell:
        "relalign stage validate --dataset {wildcards.dataset:q} > {log:q} 2>&1"


rule relevance:
    input:
        sources("relevance"),
        pairs="data/pairs/{dataset}",
    output:
        directory("data/relevance/{dataset}"),
    log:
        "logs/{dataset}/relevance.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    shell:
        "relalign stage relevance --dataset {wildcards.dataset:q} > {log:q} 2>&1"


rule features:
    input:
        sources("features"),
        raw="data/raw/{dataset}",
        pairs="data/pairs/{dataset}",
        encoder="data/encoders/{encoder}",
    output:
        directory("data/features/{dataset}/{encoder}"),
    log:
        "logs/{dataset}/features-{encoder}.log",
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(600),
    params:
        settings=settings("features"),
    shell:
        "relalign stage features --dataset {wildcards.dataset:q} --encoder {wildcards.encoder:q} > {log:q} 2>&1"
