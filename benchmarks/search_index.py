"""What kinds of index cost and find: `python -m benchmarks.search_index [--rows N ...] [--kinds KIND ...]`.

Rows are unit vectors around 10,000 random centres, so that neighbours mean something; the queries are others of
the same making. Flat is exact. "lists" is what the search page builds (`relalign.serve.search_index`); it tunes
itself to recall@10 0.99 on rows of its own. HNSW is a graph, PQ lists of codes of 64 bytes. One query at a time,
one thread; an index's size is that of its file.
"""

import argparse
import statistics
import time

import faiss
import numpy as np

from relalign.serve.search_index import ROWS_A_LIST, build_index, number_of_lists

CENTRES, NOISE, QUERIES, K = 10_000, 1.0, 200, 10


def vectors(rows, width, seed):
    random = np.random.default_rng(0)
    centres = random.standard_normal((CENTRES, width), dtype=np.float32)
    random = np.random.default_rng(seed)
    made = np.empty((rows, width), np.float32)
    for start in range(0, rows, CENTRES):
        part = made[start : start + CENTRES]
        part[:] = centres[random.integers(CENTRES, size=len(part))]
        part += NOISE * random.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def flat(rows):
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def graph(rows):
    index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 128
    index.add(rows)
    return index


def codes(rows):
    index = faiss.index_factory(rows.shape[1], f"IVF{number_of_lists(len(rows))},PQ64", faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.nprobe = ROWS_A_LIST, 32
    index.train(rows)
    index.add(rows)
    return index


KINDS = {
    "Flat": flat,
    "lists": lambda rows: build_index(rows, rows, exact_below=0).index,
    "HNSW": graph,
    "PQ": codes,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--widths", type=int, nargs="+", default=[384])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    print(f"{'rows':>10}{'width':>7}  {'kind':8}{'MB':>9}{'build s':>10}{'ms p50':>9}{'p95':>9}{'recall@10':>11}")
    for width in options.widths:
        asked = vectors(QUERIES, width, 2)
        for count in options.rows:
            rows = vectors(count, width, 1)
            right = flat(rows).search(asked, K)[1]
            for kind in options.kinds:
                start = time.perf_counter()
                index = KINDS[kind](rows)
                built = time.perf_counter() - start
                found, times = [], []
                for query in asked:
                    start = time.perf_counter()
                    found.append(index.search(query[None], K)[1][0])
                    times.append(1000 * (time.perf_counter() - start))
                recall = np.mean([np.isin(one, other).mean() for one, other in zip(right, found, strict=True)])
                size = faiss.serialize_index(index).nbytes / 1e6
                p95 = sorted(times)[int(0.95 * QUERIES)]
                cost = f"{size:9.0f}{built:10.1f}{statistics.median(times):9.2f}{p95:9.2f}"
                print(f"{count:10,}{width:7}  {kind:8}{cost}{recall:11.3f}", flush=True)


if __name__ == "__main__":
    main()
