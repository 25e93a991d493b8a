"""The whole way from queries to answers, for many queries at once.

    raw text or image --> features, once for all methods of the same encoders --> each method's embedding
    id of the test split -----------------------------> its exported embedding --^
    embedding --> nearest images and texts --> re-ranked by fusion, if asked --> answers with ticks

A mixed query's embedding is mix x text + (1 - mix) x image, scaled to unit norm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.retrieval.given import checked_texts
from relalign.serve.answers import Answer, Query
from relalign.serve.collection import Collection
from relalign.serve.runs import Run, open_runs
from relalign.serve.searcher import SIDES, Encoded, find
from relalign.settings import Params


class NotAskableError(RelalignError):
    """A query that cannot be answered: the message says what to ask instead."""


class Service:
    """Trained runs over one test split, all loaded. Ask it from one thread at a time."""

    def __init__(self, collection: Collection, runs: dict[str, Run]) -> None:
        self.collection, self.runs = collection, runs
        for run in runs.values():
            ids = run.embeddings.image_ids.tolist(), run.embeddings.text_ids.tolist()
            if ids != (sorted(collection.paths), sorted(collection.captions)):
                raise RelalignError(
                    f"{run.layout.run(run.method, run.seed) / 'embeddings'} is not of the test split that "
                    f"{run.layout.pairs} has now. Run the pipeline again (`snakemake --cores all`)."
                )

    @classmethod
    def of_project(cls, params: Params, layout: Layout, methods: Sequence[str], *, seed: int) -> "Service":
        """Load the runs of these methods; `RelalignError` names the one that cannot be used, and what to run."""
        return cls(Collection.of_project(layout), open_runs(params, layout, methods, seed=seed))

    def checked(self, query: Query) -> Query:
        """The query as it will be asked, white space of its text collapsed; `NotAskableError` if it cannot be."""
        unknown = [method for method in query.methods if method not in self.runs]
        if unknown or not query.methods:
            raise NotAskableError(f"'{', '.join(unknown)}' is not among the methods here: {', '.join(self.runs)}.")
        if query.text is not None and not query.text.replace("\0", " ").strip():
            query = replace(query, text=None)
        if not query.has_text and not query.has_image:
            raise NotAskableError("Nothing is asked: give a text, an image, or both.")
        if query.text is not None and query.caption_id is not None:
            raise NotAskableError("Give either a text or the id of a caption, not both.")
        if query.picture is not None and query.image_id is not None:
            raise NotAskableError("Give either an image or the id of one, not both.")
        self.collection.check(image_id=query.image_id, caption_id=query.caption_id)
        if query.text is None:
            return query
        try:
            return replace(query, text=checked_texts([query.text])[0])
        except RelalignError as error:
            raise NotAskableError("The text is not valid Unicode.") from error

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of checked queries, in their order: all are encoded and searched for together."""
        start = perf_counter()
        encoded = {
            (side, encoders): self._encoded(run, side, queries) for side, encoders, run in self._encoders(queries)
        }
        encoding = round(1000 * (perf_counter() - start) / max(1, len(queries)), 2)
        found = {}
        for method, run in self.runs.items():
            asking = {number: query for number, query in enumerate(queries) if method in query.methods}
            own = {side: encoded.get((side, run.encoders(side))) for side in SIDES}
            found[method] = find(
                run, self.collection, asking, {side: each for side, each in own.items() if each is not None}
            )
        milliseconds = round(1000 * (perf_counter() - start), 2)
        return [
            Answer(
                query.kind,
                query.text if query.caption_id is None else self.collection.captions[query.caption_id],
                query.caption_id,
                query.image_id,
                milliseconds,
                encoding,
                [found[method][number] for method in query.methods],
            )
            for number, query in enumerate(queries)
        ]

    def _encoders(self, queries: Sequence[Query]) -> Iterator[tuple[str, object, Run]]:
        """Each encoder that the methods asked have, with one of the runs that have it."""
        methods = dict.fromkeys(method for query in queries for method in query.methods)
        for side in SIDES:
            different = {self.runs[method].encoders(side): self.runs[method] for method in methods}
            for encoders, run in different.items():
                yield side, encoders, run

    def _encoded(self, run: Run, side: str, queries: Sequence[Query]) -> Encoded | None:
        texts = {number: query.text for number, query in enumerate(queries) if query.text is not None}
        pictures = {number: query.picture for number, query in enumerate(queries) if query.picture is not None}
        if side == "text":
            return Encoded(run.model.text_features([*texts.values()]), [*texts]) if texts else None
        return Encoded(run.model.image_features([*pictures.values()]), [*pictures]) if pictures else None
