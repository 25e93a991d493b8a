# What collects all runs: the comparison and the report.
every_run = dict(method=config["methods"], seed=config["seeds"], allow_missing=True)


rule compare:
    input:
        sources("compare"),
        expand(rules.evaluate.output.receipt, **every_run),
        expand(rules.evaluate.output.metrics, **every_run),
        expand(rules.evaluate.output.evaluation, **every_run),
    output:
        report(
            "results/{dataset}/comparison.csv",
            caption="../report/comparison.rst",
            category="Results",
        ),
        "results/{dataset}/training.csv",
        "results/{dataset}/recall.csv",
    log:
        "logs/{dataset}/compare.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("compare"),
    shell:
        "relalign stage compare --dataset {wildcards.dataset:q} > {log:q} 2>&1"


rule write_report:
    input:
        sources("report"),
        expand(rules.evaluate.output.receipt, **every_run),
        comparison="results/{dataset}/comparison.csv",
        params="results/{dataset}/params.json",
        raw="data/raw/{dataset}",
        pairs="data/pairs/{dataset}",
    output:
        report(
            "results/{dataset}/report.html",
            caption="../report/page.rst",
            category="Results",
        ),
        report(
            "results/{dataset}/comparison.svg",
            caption="../report/comparison_picture.rst",
            category="Pictures",
        ),
        report(
            "results/{dataset}/examples.svg",
            caption="../report/examples_picture.rst",
            category="Pictures",
        ),
    log:
        "logs/{dataset}/report.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        # By content and not as input, or Snakemake would run the study to make them.
        study=lambda wildcards: [
            sha256_file(path) for path in sorted(Path("docs/study").glob(f"{wildcards.dataset}-*.svg"))
        ],
    shell:
        "relalign stage report --dataset {wildcards.dataset:q} > {log:q} 2>&1"
