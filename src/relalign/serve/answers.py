"""What is asked and what is answered, as the HTTP API has it, too."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Query:
    """A text, an image, or both mixed; each is the user's own, or one of the test split's, by id.

    `mix` is the share of the text where there are both. `top` images and `top` texts are wanted of each of
    `methods`, the first candidates re-ranked if `rerank`.
    """

    methods: tuple[str, ...]
    text: str | None = None
    picture: Image.Image | None = None
    caption_id: int | None = None
    image_id: int | None = None
    mix: float = 0.5
    top: int = 12
    rerank: bool = False

    @property
    def has_text(self) -> bool:
        """Whether a text is part of the question."""
        return self.text is not None or self.caption_id is not None

    @property
    def has_image(self) -> bool:
        """Whether an image is part of the question."""
        return self.picture is not None or self.image_id is not None

    @property
    def kind(self) -> str:
        """`text`, `image` or `mixed`."""
        return "mixed" if self.has_text and self.has_image else "text" if self.has_text else "image"


@dataclass(frozen=True)
class FoundImage:
    """An image of the test split. `score` is a cosine, `matching` the logit by which it was re-ranked (or null);
    `right` says whether it is a right answer, and is null where nobody knows."""

    image_id: int
    score: float
    matching: float | None
    right: bool | None
    captions: list[str]
    path: str


@dataclass(frozen=True)
class FoundText:
    """A caption of the test split, with the id and path of its image; the other fields as those of an image."""

    caption_id: int
    score: float
    matching: float | None
    right: bool | None
    caption: str
    image_id: int
    path: str


@dataclass(frozen=True)
class MethodAnswer:
    """What one method finds, best first. `note` says why it was not re-ranked though that was asked for."""

    method: str
    seed: int
    images: list[FoundImage]
    texts: list[FoundText]
    reranked: bool
    note: str
    milliseconds: float


@dataclass(frozen=True)
class Answer:
    """The answers of all methods that were asked, in their order.

    `kind` is `text`, `image` or `mixed`; `text` is the text that was asked, of a caption as well. `milliseconds`
    is the whole time, `encode_milliseconds` what encoding took, shared by the queries encoded together.
    """

    kind: str
    text: str | None
    caption_id: int | None
    image_id: int | None
    milliseconds: float
    encode_milliseconds: float
    methods: list[MethodAnswer]
