"""A made-up study: runs, histories and trials as the study's rules leave them, none of them trained."""

import zlib

import numpy as np
import pandas as pd
import yaml

from relalign.evaluation.result_files import write_evaluation
from relalign.metrics.measurement import Measurement
from relalign.study.claims import KEPT_I, KEPT_T
from relalign.study.layout import StudyLayout
from relalign.study.record import SearchRecord, Trial, fingerprint, kept_path
from relalign.study.settings import CLEAN, Study
from relalign.system.artifacts import pretty_json, publish
from tests.runs_on_disk import QUICK
from tests.tiny_project import tiny_params

IMAGES, CAPTIONS = 30, 2
VARIANTS = {
    "cca": {"of": "cca"},
    "contrastive": {"of": "contrastive"},
    "covlr": {"of": "covlr"},
    "covlr-sum": {"of": "covlr", "change": {"meta_order": "none"}},
    "rebalanced": {"of": "rebalanced"},
    "iais": {"of": "iais"},
    "iais-off": {"of": "iais", "change": {"lambda_iais": 0.0}},
    "consensus": {"of": "consensus", "change": {"captions": 5}},
    "consensus-one-caption": {"of": "consensus", "change": {"captions": 1}},
    "contrastive-long": {"of": "contrastive", "change": {"training.epochs": 9}, "datasets": ["flickr8k"]},
}
TRIED = {"cca": {"power": 0.5}, "iais": {"training.learning_rate": 0.002}}
SKILL = {
    "cca": 0.4,
    "covlr": 0.5,
    "rebalanced": 0.6,
    "iais": 0.55,
    "consensus": 0.9,
    "consensus-one-caption": 0.9,
}  # the others: .5


def quick_params():
    return tiny_params(evaluate={"bootstrap_samples": QUICK.bootstrap_samples, "permutations": 499})


def small_study(**changes):
    """Two trials a method, two seeds, two rates of corruption."""
    methods = dict.fromkeys(variant["of"] for variant in VARIANTS.values())
    content = {
        "datasets": ["openmoji", "flickr8k"],
        "seeds": [0, 1],
        "evaluate": {"rerank_depth": 4},
        "search": {
            "methods": {name: {"axes": [[TRIED.get(name, {"temperature": 0.03})]]} for name in methods},
        },
        "variants": VARIANTS,
        "sweep": {
            "datasets": ["flickr8k"],
            "kinds": {"image": "patches", "text": "drop"},
            "rates": [0.2, 0.6],
            "variants": ["contrastive", "rebalanced"],
            "seeds": [0, 1],
        },
        "permutations": 499,
        "least_seeds": {"headline": 2, "others": 2},
        "margin": {"rsum": 3.0, "ndcg": 0.5, "isd": 0.01, "neighbours": 1.0},
    }
    return Study.model_validate(yaml.safe_load(yaml.safe_dump(content | changes)))


def write_run(root, dataset, condition, variant, seed, *, skill):
    """One run whose numbers follow from its names; less of everything without fusion (CCA)."""
    random = np.random.default_rng(zlib.crc32(f"{dataset}/{condition}/{variant}/{seed}".encode()))
    run = StudyLayout.of(root, dataset, condition, quick_params()).run(variant, seed)
    ids = 5 + np.arange(IMAGES), np.arange(IMAGES * CAPTIONS), np.repeat(5 + np.arange(IMAGES), CAPTIONS)
    of_images, of_captions = (ids[0], ids[0]), (ids[1], ids[2])
    fused = variant != "cca"
    made = []
    for prefix in ("", "rerank/") if fused else ("",):
        for side, who in (("i2t", of_images), ("t2i", of_captions)):
            easier = random.random(len(who[0]))
            for k, share in ((1, 0.8), (5, 1.0), (10, 1.2)):
                hit = 100.0 * (easier < skill * share)
                made.append(Measurement(f"{prefix}{side}/recall@{k}", *who, hit))
    made += [
        Measurement(name, *of_images, 100 * skill * random.random(IMAGES))
        for name in ("i2i/ndcg@10", "t2t/ndcg@10", KEPT_I, KEPT_T)
    ]
    if fused:
        made += [
            Measurement(f"isd/{kind}", *of_captions, (1 - skill) * random.random(len(ids[1])))
            for kind in ("singular", "distributed")
        ]
    with publish(run / "evaluation", made_by="test") as draft:
        metrics = write_evaluation(draft, made, {}, QUICK)
    (run / "metrics.json").write_text(pretty_json(metrics))
    _write_history(run, variant, skill, random)


def _write_history(run, variant, skill, random):
    epochs = np.arange(6)
    history = pd.DataFrame({"epoch": epochs, "val/rsum": 100 * skill + 10 * epochs})
    if variant != "cca":
        history["val/isd/singular"] = 1 - 0.1 * epochs + 0.01 * random.random(6)
        history["val/isd/distributed"] = 1 - 0.1 * epochs + 0.01 * random.random(6)
    if variant == "rebalanced":
        history["mix"] = [np.nan, *np.linspace(0.5, 0.6 + 0.01 * random.random(), 5)]
    if variant.startswith("consensus"):
        history["image_trust"] = [np.nan, *np.linspace(0.5, 0.3, 5)]
    (run / "model").mkdir(parents=True)
    history.to_csv(run / "model/history.csv", index=False)


def write_study(root, study, *, without=("covlr-sum",)):
    """Everything of `study` on both datasets, except these variants."""
    for dataset in study.datasets:
        for variant, seeds in study.runs_on(dataset).items():
            for seed in seeds if variant not in without else ():
                write_run(root, dataset, CLEAN, variant, seed, skill=SKILL.get(variant, 0.5))
        for condition in study.conditions(dataset):
            for variant in study.sweep.variants:
                for seed in study.sweep.seeds:
                    write_run(root, dataset, condition, variant, seed, skill=0.7 * SKILL.get(variant, 0.5))
        methods = {
            method: [Trial(change=change, score=95 + place + k / 4) for k, change in enumerate(tuning.trials)]
            for place, (method, tuning) in enumerate(study.search.methods.items())
        }
        record = SearchRecord(settings=fingerprint(quick_params(), study, dataset), methods=methods)
        path = kept_path(root, dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pretty_json(record.model_dump(mode="json")))
