"""Run every peer in a process of its own and print the table."""

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.metrics import recall_peers, relevance_peers

MODULES = {
    "clip_benchmark": "clip_benchmark",
    "open_clip": "open_clip_train",
    "torchmetrics": "torchmetrics",
    "faiss_and_pytrec_eval": "pytrec_eval",
    "faiss_and_ranx": "ranx",
    "rouge_score": "rouge_score",
}


def embeddings(images, width=256, captions=5):
    """Random unit rows in which a caption is somewhat nearer to its image than to others."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((images, width)).astype(np.float32)
    owner = np.repeat(np.arange(images), captions)
    text = (image[owner] * 0.12 + rng.standard_normal((len(owner), width))).astype(np.float32)
    return [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text)] + [owner]


def one(task, name, images, repeats):
    """Measure one peer in this process and print the result as JSON."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if task == "recall":
        given, function = embeddings(images), recall_peers.PEERS[name]
    else:
        owner = np.repeat(np.arange(images), 5)
        given, function = (relevance_peers.captions(images), owner), relevance_peers.PEERS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, processor = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        found = function(*given)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"seconds": min(seconds), "cpu": min(processor), "peak_gb": peak / 1e6, "data_gb": before / 1e6}
    if task == "recall" and found is not None:
        result["recalls"] = [round(float(value), 2) for value in found]
    if task == "relevance":
        result["pairs"] = found[1] * images
    print(json.dumps(result))


def measured(task, name, images, repeats, threads):
    """One peer's result from a process of its own, or None where it is not installed or fails."""
    if importlib.util.find_spec(MODULES.get(name, "numpy")) is None:
        return None
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(threads))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.metrics", "--one", task, name, str(images)]
    done = subprocess.run([*command, "--repeats", str(repeats)], env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def recall_table(images, repeats, threads, only):
    """Recall of N images and 5 N captions, relative to faiss."""
    print(f"\nrecall, {images:,} x {5 * images:,}, both directions, best of {repeats}, {threads} threads")
    print(f"{'':24}{'seconds':>9}{'x faiss':>9}{'CPU s':>9}{'peak GB':>9}   R@1/5/10 image to text, text to image")
    results = {}
    for name in recall_peers.PEERS:
        if (only and name not in only) or (name in recall_peers.SLOW and images > 1000):
            continue
        result = results[name] = measured("recall", name, images, repeats, threads)
        if result:
            relative = result["seconds"] / (results.get("faiss_flat") or result)["seconds"]
            values = " ".join(f"{value:.2f}" for value in result.get("recalls", ()))
            columns = f"{result['seconds']:9.3f}{relative:9.2f}{result['cpu']:9.2f}{result['peak_gb']:9.2f}"
            print(f"{name:24}{columns}   {values}")


def relevance_table(images, threads, only):
    """ROUGE-L of 5 N captions against N sets of five."""
    print(f"\nROUGE-L relevance, {5 * images:,} captions x {images:,} sets of 5, {threads} threads")
    print(f"{'':24}{'seconds':>9}{'peak GB':>9}{'caption-set pairs a second':>30}")
    for name in relevance_peers.PEERS:
        if only and name not in only:
            continue
        if result := measured("relevance", name, images, 1, threads):
            rate = result["pairs"] / result["seconds"]
            print(f"{name:24}{result['seconds']:9.2f}{result['peak_gb']:9.2f}{rate:30,.0f}")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("TASK", "NAME", "IMAGES"), help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="which peers; default: all")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.one:
        task, name, images = options.one
        one(task, name, int(images), options.repeats)
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for images in options.images:
        recall_table(images, options.repeats, options.threads, options.only)
    relevance_table(max(options.images), options.threads, options.only)


if __name__ == "__main__":
    main()
