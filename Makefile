# Every target builds and uses .venv, from hash-locked packages. On a GPU machine: make TORCH=cuda ...
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install servers reproduce study premise search test test-long mutations lint audit sbom fuzz benchmarks ui lock clean

# cpu or cuda; without a word, what is installed stays.
TORCH ?= $(patsubst .venv/.installed-%,%,$(firstword $(wildcard .venv/.installed-*) .venv/.installed-cpu))
ENVIRONMENT := .venv/.installed-$(TORCH)
# The locks are made for Python 3.11 and up; 3.11 is preferred, as torch's CPU wheel is hash-locked for it.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
CORES ?= all
PORT ?= 5000
FUZZ_SECONDS ?= 10
# VERBOSE=1 shows Snakemake's whole log in place of one line of progress.
ifdef VERBOSE
export RELALIGN_VERBOSE := 1
endif
# Without bytecode on disk each of the pipeline's processes would compile all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(ENVIRONMENT): requirements/install.sh requirements/base.lock requirements/torch-$(TORCH).lock requirements/uv.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	rm -f .venv/.installed-*
	requirements/install.sh "$(PYTHON)" "$(TORCH)"
	# A project that was downloaded as a ZIP has no git, without which DVC wants to be told so.
	git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { .venv/bin/dvc config --local core.no_scm true
		echo "There is no git here: DVC is set to do without (.dvc/config.local)."; }
	touch $@

.venv/.servers-installed: $(ENVIRONMENT) requirements/servers.lock
	uv pip install --quiet $${PIP_INDEX_URL:+--default-index "$$PIP_INDEX_URL"} \
		--python .venv/bin/python --require-hashes -r requirements/servers.lock
	touch $@

servers: .venv/.servers-installed ## add DVC over S3 and MLflow on PostgreSQL to .venv, and what their tests need

install: $(ENVIRONMENT) ## the environment .venv alone, for `source .venv/bin/activate`

reproduce: $(ENVIRONMENT) ## run the pipeline on the data of params.yaml, print the comparison
	snakemake --cores $(CORES)
	relalign table

study: $(ENVIRONMENT) ## the study of study.yaml: all methods and ablations as tuned, docs/findings.md (hours)
	snakemake --cores $(CORES) study

premise: $(ENVIRONMENT) ## what training does to relations within a modality, by how much of the encoders trains (hours)
	snakemake --cores $(CORES) premise

search: $(ENVIRONMENT) ## tune all methods anew and keep the record, docs/search/*.json (hours)
	snakemake --cores $(CORES) search

test: $(ENVIRONMENT) ## all tests: the fast ones, then those with real Snakemake, DVC and MLflow runs
	pytest -n auto -m "not workflow and not long"
	pytest -n auto -m "workflow and not long"

# Tests that start servers skip, and say so, where Debian's are missing:
# apt-get install slurmctld slurmd slurm-client munge postgresql
test-long: .venv/.servers-installed ## the tests that a change cannot wait for: fifty kills a stage, minutes of fuzz, Slurm, S3, PostgreSQL
	pytest -m long

mutations: $(ENVIRONMENT) ## break each promise of docs/reliability.md in a copy, see its test go red (half an hour)
	python -m tests.reliability.mutations --jobs 2

lint: $(ENVIRONMENT) ## formatting, lint, types, floors, Snakemake's lint, what is generated from settings/
	ruff format --check
	ruff check
	mypy
	lint-imports
	snakefmt --check --compact-diff Snakefile workflow
	snakemake --lint
	relalign schema | diff - workflow/schemas/params.schema.yaml
	relalign reference | diff - docs/params.md

# Tools that look at the project from outside have an environment of their own: what they need is not what it needs.
.venv/security/.installed: $(ENVIRONMENT) requirements/security.lock
	rm -rf .venv/security
	uv venv --quiet --python .venv/bin/python .venv/security
	uv pip install --quiet $${PIP_INDEX_URL:+--default-index "$$PIP_INDEX_URL"} \
		--python .venv/security/bin/python --require-hashes -r requirements/security.lock
	touch $@

audit: .venv/security/.installed ## ask the advisory database about every locked package (out of reach: a warning)
	requirements/audit.sh "$(CURDIR)/.venv/security/bin/pip-audit"

sbom: .venv/security/.installed ## list every installed package with version and licence: sbom.json (CycloneDX)
	.venv/security/bin/cyclonedx-py environment .venv/bin/python --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file sbom.json

fuzz: .venv/security/.installed ## FUZZ_SECONDS=10 of bytes that atheris makes up, for each reader of files
	python -m tests.reliability.fuzz --seconds $(FUZZ_SECONDS)

benchmarks: $(ENVIRONMENT) ## time the hot parts beside their peers
	python -m benchmarks

ui: $(ENVIRONMENT) ## MLflow's pages over all runs, until interrupted
	relalign ui --port $(PORT)

# What torch brings along for CUDA belongs into its own lock only; `sed` lists those names.
lock: $(ENVIRONMENT) ## make the lock files anew from requirements/*.in
	compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --no-annotate --upgrade "$$@"; }
	cd requirements
	cuda=$$(compile torch-cuda.in | sed -nE 's/^((nvidia|cuda|triton|torch)[a-z0-9-]*)==.*/--no-emit-package \1/p')
	compile $$cuda dev.in --output-file base.lock
	compile torch-cuda.in --constraint base.lock --output-file torch-cuda.lock
	compile uv.in --output-file uv.lock
	compile security.in --constraint base.lock --output-file security.lock
	compile servers.in --constraint base.lock --output-file servers.lock

clean: ## remove the environment, caches and logs; data, results and DVC's cache stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis logs
