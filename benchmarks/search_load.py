"""The search under load: `python -m benchmarks.search_load [--clients N ...] [--seconds S]`, after the pipeline.

So many clients ask text queries of one server over HTTP, each one after the other, for so long. Printed are
answers a second, latency, how many answers were right, refused, failed, or other than those that a single client
got before, and the server's memory at the end of each round, which must not grow. Clients share the machine with
the server, so the numbers are a lower bound.
"""

import argparse
import functools
import http.client
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.search_page import ask, inflate, server, text_url
from relalign.layout import Layout
from relalign.settings import load_params

DIFFERENT = 40  # queries, asked again and again


def hits(answer):
    """What was found, in which order. (Scores of queries computed together differ in the last digit.)"""
    kinds = (("images", "image_id"), ("texts", "caption_id"))
    return [[hit[name] for hit in one[side]] for one in answer["methods"] for side, name in kinds]


def client(port, until, expected, seed):
    """One client's latencies in milliseconds, and how its answers came out."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    random, times, outcomes = np.random.default_rng(seed), [], Counter()
    while time.monotonic() < until:
        number = int(random.integers(DIFFERENT))
        start = time.perf_counter()
        try:
            connection.request("GET", text_url(number))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcomes[type(error).__name__] += 1
            connection.close()
            continue
        if response.status != 200:
            outcomes[f"status {response.status}"] += 1
            continue
        times.append(1000 * (time.perf_counter() - start))
        outcomes["right" if hits(answer) == expected[number] else "different"] += 1
    return times, outcomes


def resident(process):
    """The server's memory in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 1])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--images", type=int, default=8000)
    options = parser.parse_args()
    params = load_params(Path("params.yaml"))
    layout, method, seed = Layout(Path.cwd(), params.dataset), params.methods[-1], params.seeds[0]
    if not layout.run(method, seed).is_dir():
        sys.exit("run the pipeline first")
    with tempfile.TemporaryDirectory() as folder:
        inflate(layout, Path(folder), method, seed, options.images)
        with server(Path(folder), "--method", method) as (process, port):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            expected = [hits(ask(connection, text_url(number))) for number in range(DIFFERENT)]
            print(f"{'clients':>8}{'a second':>10}{'p50 ms':>9}{'p95':>9}{'p99':>9}{'MB':>9}  answers")
            for clients in options.clients:
                until = time.monotonic() + options.seconds
                with ThreadPoolExecutor(clients) as pool:
                    work = functools.partial(client, port, until, expected)
                    done = list(pool.map(work, range(clients)))
                times = np.concatenate([one for one, _ in done])
                outcomes = dict(sum((one for _, one in done), Counter()))
                late = "".join(f"{one:>9.0f}" for one in np.quantile(times, [0.5, 0.95, 0.99]))
                rate, memory = len(times) / options.seconds, resident(process)
                print(f"{clients:>8}{rate:>10.0f}{late}{memory:>9.0f}  {outcomes}", flush=True)


if __name__ == "__main__":
    main()
