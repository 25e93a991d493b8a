# Single-modal teachers, for methods with `teacher: trained`. The Snakefile includes this where there are any.
rule teacher:
    input:
        sources("teacher"),
        pairs="data/pairs/{dataset}",
        features="data/features/{dataset}/{encoder}",
        encoder="data/encoders/{encoder}",
    output:
        directory("data/teachers/{dataset}/{encoder}"),
    log:
        "logs/{dataset}/teacher-{encoder}.log",
    threads: TOGETHER * params_checked.training.threads
    resources:
        mem_mb=growing(TOGETHER * 8000),
        runtime=growing(600),
    params:
        settings=settings("teacher"),
    shell:
        "relalign stage teacher --dataset {wildcards.dataset:q} --encoder {wildcards.encoder:q} > {log:q} 2>&1"
