"""mteb 2.26's search of a retrieval task (`models/search_wrappers.py`, Apache-2.0), shortened.

The same calls of a model, and hit rates by mteb's definition; the package brings a dozen others.
"""

import torch
from torch.utils.data import DataLoader


def collate(rows):
    return {key: [row[key] for row in rows] for key in rows[0]}


def hit_rates(model, queries, corpus, relevant, ks, batch_size=3, corpus_chunk_size=5):
    def encode(rows, prompt_type):
        return model.encode(
            DataLoader(rows, batch_size=batch_size, collate_fn=collate),
            task_metadata=None, hf_split="test", hf_subset="default", prompt_type=prompt_type,
            batch_size=batch_size,
        )  # fmt: skip

    asked, found = encode(queries, "query"), [[] for _ in queries]
    for start in range(0, len(corpus), corpus_chunk_size):
        chunk = corpus[start : start + corpus_chunk_size]
        scores = torch.as_tensor(model.similarity(asked, encode(chunk, "document")))
        for row, best in zip(found, scores.tolist(), strict=True):
            row += zip(best, (document["id"] for document in chunk), strict=True)
    ranked = [[name for _, name in sorted(row, reverse=True)] for row in found]
    return {
        k: sum(
            bool(relevant[query["id"]].keys() & set(names[:k]))
            for query, names in zip(queries, ranked, strict=True)
        )
        / len(queries)
        for k in ks
    }
