"""How long the search takes over HTTP: from the start to the first answer, and then a query, beside the budgets.

`python -m benchmarks.search_page [--images N] [--queries N] [--method NAME]`, where the pipeline has run. So that
there are `--images` images (default 8,000, with five captions each), the test split is replaced by copies of its
images with random embeddings, in a folder that is removed again. The server is a process of its own, with one
thread for each usable core. Its CPU time is printed beside the clock's, which other work slows down.
"""

import argparse
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from relalign.layout import Layout
from relalign.retrieval.embeddings import Embeddings, load_embeddings, write_embeddings
from relalign.settings import load_params
from relalign.system.artifacts import publish

CAPTIONS = 5
SIZE = (500, 375)  # as photographs on Flickr
TEXT = "a dog runs in the water while two children with red hats play near old house on green hill"


def inflate(layout, root, method, seed, images):
    """A project under `root` with so many test images, and one run; what need not change is linked."""
    big = Layout(root, layout.dataset)
    for name in ("data/raw", "data/encoders"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(layout.root / name)
    (root / "params.yaml").symlink_to(layout.root / "params.yaml")
    run = big.run(method, seed)
    run.mkdir(parents=True)
    (run / "model").symlink_to(layout.run(method, seed) / "model")
    test = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == 'test'")
    rows = test.iloc[np.arange(images * CAPTIONS) % len(test)].reset_index(drop=True)
    rows = rows.assign(caption_id=np.arange(len(rows)), image_id=np.arange(len(rows)) // CAPTIONS)
    with publish(big.pairs, made_by="benchmarks") as draft:
        rows.to_parquet(draft / "pairs.parquet", index=False)
    width = load_embeddings(layout.run(method, seed) / "embeddings").image.shape[1]
    random = np.random.default_rng(0)
    sides = (random.normal(size=(count, width)).astype(np.float32) for count in (images, len(rows)))
    image, text = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    owners = rows["image_id"].to_numpy()
    with publish(run / "embeddings", made_by="benchmarks") as draft:
        write_embeddings(draft, Embeddings(image, text, np.arange(images), rows["caption_id"].to_numpy(), owners))


@contextmanager
def server(root, *options):
    """`relalign serve` on a free port: its process and the port, once it is open."""
    command = [sys.executable, "-m", "relalign.cli", "serve", "--port", "0", "--params", str(root / "params.yaml")]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(process.stderr.read())
        yield process, int(line.split()[1].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


def ask(connection, url, body=None):
    connection.request("GET" if body is None else "POST", url, body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        sys.exit(f"{url}: {answer['error']}")
    return answer


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def photograph(seed):
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
        SIZE
    )
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def text_url(seed, **parameters):
    words = " ".join(np.random.default_rng(seed).choice(TEXT.split(), 8))
    return "/api/search?" + urllib.parse.urlencode({"text": words, **parameters})


def row(name, process, connection, requests, budget=""):
    """Ask one after the other; print what the client's clock says, and the server's CPU time a query."""
    times, before = [], cpu_seconds(process)
    for url, body in requests:
        start = time.perf_counter()
        ask(connection, url, body)
        times.append(1000 * (time.perf_counter() - start))
    middle, late = statistics.median(times), float(np.quantile(times, 0.95))
    cpu = 1000 * (cpu_seconds(process) - before) / len(times)
    print(f"{name:46}{middle:9.0f}{late:9.0f}{cpu:9.0f}{budget:>9}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--method")
    options = parser.parse_args()
    params = load_params(Path("params.yaml"))
    layout, seed = Layout(Path.cwd(), params.dataset), params.seeds[0]
    method = options.method or params.methods[-1]
    if not layout.run(method, seed).is_dir():
        print("run the pipeline first")
        return
    texts = [(text_url(number), None) for number in range(options.queries)]
    pictures = [("/api/search", photograph(number)) for number in range(options.queries)]
    with tempfile.TemporaryDirectory() as folder:
        inflate(layout, Path(folder), method, seed, options.images)
        start = time.perf_counter()
        with server(Path(folder), "--method", method) as (process, port):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            ask(connection, *texts[0])
            wall, cpu = time.perf_counter() - start, cpu_seconds(process)
            print(f"start to first answer: {wall:.1f} s, of CPU {cpu:.1f} s (budget: 10 s)")
            print(f"{options.images:,} images, {CAPTIONS * options.images:,} texts, {method}")
            print(f"{'':46}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}{'budget':>9}")
            row("text query", process, connection, texts, "60")
            row("image query, upload of 500 x 375", process, connection, pictures, "150")
            begun = time.perf_counter()
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda one: ask(http.client.HTTPConnection("127.0.0.1", port), *one), texts))
            rate = len(texts) / (time.perf_counter() - begun)
            print(f"{'text queries of 16 at once, a second':46}{rate:9.0f}")
    with server(layout.root, "--method", method) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        again = [(text_url(number, rerank="true"), None) for number in range(options.queries)]
        row("text query, re-ranked, in the project's split", process, connection, again)


if __name__ == "__main__":
    main()
