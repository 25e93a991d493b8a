"""Twelve drawn pictures with 36 sentences, in the shapes that people have their data in: each a writer of
files."""

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue")
SHAPES = ("circle", "square", "triangle", "cross")
NAMES = [f"{colour}_{shape}.jpg" for colour in COLOURS for shape in SHAPES]


def sentences(name: str) -> list[str]:
    colour, shape = name.removesuffix(".jpg").split("_")
    return [f"a {colour} {shape} on white", f"one {shape}, painted {colour}", f"the {shape} is {colour}"]


PAIRS = [(name, sentence) for name in NAMES for sentence in sentences(name)]


@cache
def draw(name: str) -> bytes:
    colour, shape = name.removesuffix(".jpg").split("_")
    image = Image.new("RGB", (48, 48), "white")
    pen = ImageDraw.Draw(image)
    low, high = 6 + 4 * COLOURS.index(colour), 42
    if shape == "circle":
        pen.ellipse((low, low, high, high), fill=colour)
    elif shape == "square":
        pen.rectangle((low, low, high, high), fill=colour)
    elif shape == "triangle":
        pen.polygon([(24, low), (high, high), (low, high)], fill=colour)
    else:
        pen.line((low, low, high, high), fill=colour, width=8)
        pen.line((low, high, high, low), fill=colour, width=8)
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


def write_images(folder: Path, names: list[str] | None = None) -> None:
    for name in names or NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw(Path(name).name))


def quoted(text: str) -> str:
    return f'"{text}"' if "," in text else text


def delimited(separator: str, header: str | None = "image,caption", *, end: str = "\n", tail: str = "") -> str:
    lines = [] if header is None else [header.replace(",", separator)]
    lines += [f"{n}{separator}{quoted(s) if separator == ',' else s}{tail}" for n, s in PAIRS]
    return end.join(lines) + end


@dataclass(frozen=True)
class Case:
    """What is written, and what must come of it."""

    file: str
    content: str | bytes
    captions: int = 36
    images: int = 12
    some: str = "a red circle on white"
    told: str = ""
    refused: str = ""


def coco(names: list[str] = NAMES) -> dict[str, Any]:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    pairs = [(number, sentence) for number, name in enumerate(names) for sentence in sentences(name)]
    annotations = [{"id": n, "image_id": number, "caption": s} for n, (number, s) in enumerate(pairs)]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def _karpathy() -> dict[str, Any]:
    splits = ["train"] * 6 + ["restval", "train", "val", "val", "test", "test"]
    entries = [
        {"filename": name, "split": split, "sentences": [{"raw": sentence} for sentence in sentences(name)]}
        for name, split in zip(NAMES, splits, strict=True)
    ]
    return {"dataset": "own", "images": entries}


def _results(lost: bool = False) -> str:
    lines = ["image_name| comment_number| comment"]
    lines += [f"{name}| {n}| {s}" for name in NAMES for n, s in enumerate(sentences(name))]
    if lost:
        lines[12] = lines[12].replace("| the", "   the")
    return "\n".join(lines) + "\n"


CASES = [
    Case("plain.csv", delimited(",")),
    Case("windows.csv", delimited(",", end="\r\n")),
    Case("semicolon.csv", delimited(";")),
    Case("tab.csv", delimited("\t")),
    Case("own.tsv", delimited("\t")),
    Case("pipe.csv", delimited("|")),
    Case("bom.csv", delimited(",").encode("utf-8-sig")),
    Case("utf16.csv", delimited(",").encode("utf-16"), told="read as UTF-16"),
    Case("utf16_unmarked.csv", delimited(";").encode("utf-16-le"), told="read as UTF-16"),
    Case(
        "windows1252.csv",
        delimited(",").replace(" on white", " on white café").encode("cp1252"),
        some="a red circle on white café",
        told="read as Windows-1252",
    ),
    Case("missing_words.csv", delimited(",").replace("a red circle on white", "None"), some="None"),
    Case("filepath_title.csv", delimited("\t", "filepath,title")),
    Case("swapped.csv", "caption,image\n" + "".join(f"{quoted(s)},{n}\n" for n, s in PAIRS)),
    Case(
        "unknown_names.csv", delimited(";", "bild,satz"), told="image: 'bild' (by what it holds), caption: 'satz'"
    ),
    Case("captions.txt", delimited(",")),
    Case("header_with_spaces.csv", delimited(",", " Image, Caption ")),
    Case("no_header.csv", delimited(",", None), told="image: 'column 1' (by what it holds)"),
    Case(
        "pictures.token.txt",
        "".join(f"{name}#{n}\t{s}\n" for name in NAMES for n, s in enumerate(sentences(name)))
        + "none_such.jpg.1#0\tnot there\n",
        told="such as none_such.jpg.1#0",
    ),
    Case(
        "quotes.token.txt",
        delimited("\t", None).replace("the circle is red", '"the" circle is "red'),
        some='"the" circle is "red',
    ),
    Case("results.csv", _results()),
    Case("results_lost.csv", _results(lost=True), captions=35),
    Case(
        "unquoted_commas.csv",
        delimited(",", tail=", seen from above").replace('"', ""),
        some="one circle, painted red, seen from above",
        told="36 rows have more cells than there are columns, row 2 first",
    ),
    Case("trailing_comma.csv", delimited(",", tail=",")),
    Case(
        "open_quote.csv", delimited(",").replace("a green circle", '"a green circle'), refused="in row 14 a quote"
    ),
    Case(
        "cell_of_two_lines.csv",
        delimited(",").replace("a red circle on white", '"a red\ncircle"'),
        some="a red circle",
    ),
    Case("with_folder.csv", delimited(",").replace("\nred", "\n./images/red"), told=""),
    Case("backslash.csv", delimited(";").replace("\nred", "\nimages\\red"), told="by the last part of the path"),
    Case("upper_case.csv", delimited(",").replace(".jpg", ".JPG"), told="12 with other upper and lower case"),
    Case("no_ending.csv", delimited(",").replace(".jpg", ""), told="12 with another ending or none"),
    Case("urls.csv", delimited(";").replace("\n", "\nhttps://host.org/a/")[:-19], told="12 by the last part"),
    Case(
        "none_found.csv",
        delimited(",").replace("\nred", "\nelsewhere/x_red").replace("\ngreen", "\nx").replace("\nblue", "\ny"),
        refused="such as elsewhere/x_red_circle.jpg",
    ),
    Case(
        "half_missing.csv",
        delimited(",").replace("\nred", "\nx_red"),
        captions=24,
        images=8,
        some="a blue circle on white",
        told="such as x_red_circle.jpg",
    ),
    Case("rows.jsonl", "".join(json.dumps({"image": n, "caption": s}) + "\n" for n, s in PAIRS)),
    Case("lists.jsonl", "".join(json.dumps({"file_name": n, "captions": sentences(n)}) + "\n" for n in NAMES)),
    Case("list.json", json.dumps([{"path": n, "text": s} for n, s in PAIRS])),
    Case("captions_train2017.json", json.dumps(coco())),
    Case("dataset_own.json", json.dumps(_karpathy())),
    Case("only_header.csv", "image,caption\n", refused="holds no captions"),
    Case("empty.csv", "", refused="it is empty"),
    Case("one_column.csv", "image\n" + "".join(f"{n}\n" for n in NAMES), refused="no comma, tab, semicolon"),
]
