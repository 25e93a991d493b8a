"""How fast an exported model loads and embeds, in torch and in ONNX Runtime on the same threads.

`python -m benchmarks.exported_model [FOLDER] [--threads N]`, of a folder that `relalign export --onnx` has made
(default: the first of exported/*). Images are noise of 500 x 375 pixels and prepared before the clock starts,
texts have 8 words; a row is the median of several runs.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image

import relalign
from relalign.retrieval.onnx_files import IMAGE_FILE, TEXT_FILE
from relalign.retrieval.towers import ImageTower, TextTower, padded_tokens

RUNS = 7
BATCHES = (1, 32)


def milliseconds(work):
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported_model", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=next(Path("exported").glob("*"), None))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.folder is None or not (options.folder / IMAGE_FILE).is_file():
        print("make a model first: relalign export consensus --onnx")
        return
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    model = relalign.load(options.folder, device="cpu")
    model.encode_texts(["a dog in water"])
    print(f"{options.folder}: loads, and embeds a first text, in {time.perf_counter() - start:.1f} s")
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(random.integers(0, 256, (375, 500, 3), dtype=np.uint8)) for _ in range(max(BATCHES))
    ]
    prepared = torch.from_numpy(np.stack([model.image_encoder.prepare(picture) for picture in pictures]))
    tokens = padded_tokens(model, ["a small dog runs through the cold water"] * max(BATCHES))
    print(f"{'ms a row':24}{'torch':>9}{'ONNX':>9}{'largest difference':>22}")
    for name, tower, file, inputs in (
        ("image", ImageTower(model), IMAGE_FILE, {"pixels": prepared}),
        ("text", TextTower(model), TEXT_FILE, dict(zip(("input_ids", "attention_mask"), tokens, strict=True))),
    ):
        onnx = session(options.folder / file, options.threads)
        for rows in BATCHES:
            some = {key: value[:rows] for key, value in inputs.items()}
            arrays = {key: value.numpy() for key, value in some.items()}
            spent = [
                milliseconds(lambda: tower(*some.values())) / rows,  # noqa: B023 (called before the loop goes on)
                milliseconds(lambda: onnx.run(None, arrays)) / rows,  # noqa: B023 (the same)
            ]
            difference = np.abs(tower(*some.values()).numpy() - onnx.run(None, arrays)[0]).max()
            print(f"{f'{name}, batches of {rows}':24}{spent[0]:9.2f}{spent[1]:9.2f}{difference:22.1e}")


if __name__ == "__main__":
    main()
