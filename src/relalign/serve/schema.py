"""The shapes of the HTTP API: what may be asked, and what is said beside answers (`relalign.serve.answers`)."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from relalign import __version__
from relalign.serve.collection import Collection
from relalign.serve.service import Service

TOP_AT_MOST, TEXT_AT_MOST = 100, 1000


class Asked(BaseModel, extra="forbid"):
    """The parameters of a search."""

    text: Annotated[str | None, Field(max_length=TEXT_AT_MOST, description="A text to look for.")] = None
    caption: Annotated[int | None, Field(description="Id of a test caption to ask with, in place of `text`.")] = (
        None
    )
    image: Annotated[int | None, Field(description="Id of a test image to ask with.")] = None
    method: Annotated[
        list[str],
        Field(max_length=16, description="May be given again, for answers side by side; default: the last."),
    ] = []
    top: Annotated[int, Field(ge=1, le=TOP_AT_MOST, description="So many images, and so many texts.")] = 12
    mix: Annotated[float, Field(ge=0, le=1, description="With a text and an image: the share of the text.")] = 0.5
    rerank: Annotated[bool, Field(description="Let the fusion encoder re-order the first candidates.")] = False


class Sentence(BaseModel):
    """What went wrong, for a person."""

    error: str


class MethodInfo(BaseModel):
    """A method that can be asked, and whether it can re-rank."""

    name: str
    reranks: bool


class IndexInfo(BaseModel):
    """An index: what it is, over how many rows, and the measured share of the exact first 10 that it finds."""

    kind: str
    rows: int
    recall: float


class Info(BaseModel):
    """What is served."""

    dataset: str
    seed: int
    methods: list[MethodInfo]
    image_index: IndexInfo
    text_index: IndexInfo
    version: str


class RandomQuery(BaseModel):
    """A test caption's id and text, or a test image's id."""

    caption: int | None = None
    text: str | None = None
    image: int | None = None


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Sentence, "description": "A bad request; the sentence says what to mend."},
    503: {"model": Sentence, "description": "Too many queries wait; try again."},
}


def info_of(service: Service) -> Info:
    """What the service serves."""
    run = next(iter(service.runs.values()))
    image, text = (
        IndexInfo(kind=index.kind, rows=index.index.ntotal, recall=index.recall)
        for index in (run.indexes["image"], run.indexes["text"])
    )
    return Info(
        dataset=service.collection.dataset,
        seed=run.seed,
        methods=[MethodInfo(name=name, reranks=run.reranks) for name, run in service.runs.items()],
        image_index=image,
        text_index=text,
        version=__version__,
    )


def shown_first(service: Service) -> list[str]:
    """The methods that the page compares before anybody chooses: the report's baseline and the last one."""
    methods = [*service.runs]
    baseline = service.runs[methods[0]].params.report.baseline
    return [name for name in dict.fromkeys((baseline, methods[-1])) if name in methods]


def examples_of(collection: Collection) -> dict[str, list[tuple[int, str]]]:
    """A few images and captions of the test split to start from: ids with texts, evenly spaced."""
    images, captions = sorted(collection.paths), sorted(collection.captions)
    chosen = {"images": images[:: -(-len(images) // 18)], "captions": captions[:: -(-len(captions) // 5)]}
    first = {image: collection.captions[collection.captions_of[image][0]] for image in chosen["images"]}
    return {
        "images": [*first.items()],
        "captions": [(caption, collection.captions[caption]) for caption in chosen["captions"]],
    }
