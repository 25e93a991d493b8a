"""What Snakemake and DVC need to run one graph: the stages of dvc.yaml, receipts, keeping both in step."""
