"""Recall at 1, 5 and 10 in both directions by this project and by others, from unit rows and caption owners."""

import numpy as np
import torch

KS = (1, 5, 10)


def matmul(image, text, owner):
    """No metric: the whole score matrix, which is the floor of any exact method."""
    torch.from_numpy(image) @ torch.from_numpy(text).T


def relalign(image, text, owner):
    """R@K and exact ranks, blocked."""
    from relalign.metrics.recall import recall

    report = recall(image, text, owner, ks=KS)
    return [*report.i2t.recall.values(), *report.t2i.recall.values()]


def faiss_flat(image, text, owner):
    """Exact search of the first ten: no ranks."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    found = []
    for gallery, queries in ((text, image), (image, text)):
        index = faiss.IndexFlatIP(gallery.shape[1])
        index.add(gallery)
        found.append(index.search(queries, max(KS))[1])
    hits = owner[found[0]] == np.arange(len(image))[:, None], found[1] == owner[:, None]
    return [100 * hit[:, :k].any(1).mean() for hit in hits for k in KS]


def argsort_loop(image, text, owner):
    """The evaluation of VSE++, SCAN and their successors: a full sort a query (written anew)."""
    ranks = []
    for query in range(len(image)):
        order = np.argsort(text @ image[query])[::-1]
        ranks.append(np.flatnonzero(owner[order] == query)[0])
    i2t, ranks = np.array(ranks), []
    for query in range(len(text)):
        order = np.argsort(image @ text[query])[::-1]
        ranks.append(np.flatnonzero(order == owner[query])[0])
    return [100 * (side < k).mean() for side in (i2t, np.array(ranks)) for k in KS]


def clip_benchmark(image, text, owner):
    """LAION's CLIP_benchmark, as its `evaluate` calls its own functions."""
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(text) @ torch.from_numpy(image).T
    positive = torch.zeros_like(scores, dtype=bool)
    positive[torch.arange(len(scores)), torch.from_numpy(owner)] = True
    return [
        100 * (batchify(recall_at_k, s, p, 64, "cpu", k=k) > 0).float().mean().item()
        for s, p in ((scores.T, positive.T), (scores, positive))
        for k in KS
    ]


def torchmetrics(image, text, owner):
    """torchmetrics' RetrievalHitRate (a Python loop over queries)."""
    from torchmetrics.retrieval import RetrievalHitRate

    scores = torch.from_numpy(image) @ torch.from_numpy(text).T
    positive = torch.from_numpy(owner)[None] == torch.arange(len(image))[:, None]
    values = []
    for s, p in ((scores, positive), (scores.T, positive.T)):
        index = torch.arange(len(s))[:, None].expand_as(s).reshape(-1)
        for k in KS:
            values.append(100 * RetrievalHitRate(top_k=k)(s.reshape(-1), p.reshape(-1), indexes=index).item())
    return values


def _ranked(image, text):
    """faiss' first ten of each query as dictionaries, which trec-style evaluators want."""
    import faiss

    for gallery, queries in ((text, image), (image, text)):
        index = faiss.IndexFlatIP(gallery.shape[1])
        index.add(gallery)
        scores, ids = index.search(queries, max(KS))
        yield {
            str(q): {str(i): float(s) for i, s in zip(row, value, strict=True)}
            for q, (row, value) in enumerate(zip(ids, scores, strict=True))
        }


def _judged(image, owner):
    i2t = {str(i): {str(j): 1 for j in np.flatnonzero(owner == i)} for i in range(len(image))}
    return i2t, {str(j): {str(i): 1} for j, i in enumerate(owner)}


def faiss_and_pytrec_eval(image, text, owner):
    """faiss' first ten, evaluated by TREC's program."""
    import pytrec_eval

    values = []
    for ranked, judged in zip(_ranked(image, text), _judged(image, owner), strict=True):
        found = pytrec_eval.RelevanceEvaluator(judged, {"success.1,5,10"}).evaluate(ranked).values()
        values += [100 * np.mean([row[f"success_{k}"] for row in found]) for k in KS]
    return values


def faiss_and_ranx(image, text, owner):
    """faiss' first ten, evaluated by ranx (numba; includes its compilation)."""
    from ranx import Qrels, Run, evaluate

    values = []
    for ranked, judged in zip(_ranked(image, text), _judged(image, owner), strict=True):
        found = evaluate(Qrels(judged), Run(ranked), [f"hit_rate@{k}" for k in KS])
        values += [100 * found[f"hit_rate@{k}"] for k in KS]
    return values


def open_clip(image, text, owner):
    """open_clip's metric, which knows one caption an image: the first of each, a fifth of the others' work."""
    from open_clip_train.train import get_clip_metrics

    first = np.unique(owner, return_index=True)[1]
    found = get_clip_metrics(torch.from_numpy(image), torch.from_numpy(text[first]), 1.0)
    return [100 * found[f"{side}_R@{k}"] for side in ("image_to_text", "text_to_image") for k in KS]


PEERS = {
    function.__name__: function
    for function in (
        matmul,
        faiss_flat,
        relalign,
        faiss_and_pytrec_eval,
        faiss_and_ranx,
        argsort_loop,
        clip_benchmark,
        open_clip,
        torchmetrics,
    )
}
SLOW = {"torchmetrics"}  # minutes and many GB at 5,000 x 25,000
