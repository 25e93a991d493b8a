"""An artefact that is truncated, has one bit flipped or was swapped is named by who reads it, and is made anew."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.staged_project import FEATURES, STAGES, StagedProject

RUN = "results/tiny/contrastive/seed0"
OTHER_RUN = "results/tiny/cca/seed0"


def truncate(file: Path) -> bytes:
    return file.read_bytes()[: file.stat().st_size // 2]


def flip_a_bit(file: Path) -> bytes:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def swap_for_another_file(file: Path) -> bytes:
    return b"something else entirely".ljust(file.stat().st_size)


DAMAGES = (truncate, flip_a_bit, swap_for_another_file)
# The file, who makes it, and who reads it.
FILES = {
    "data/raw/tiny/images/00.png": ("download", "validate"),
    "data/raw/tiny/captions/captions.csv": ("download", "validate"),
    "data/encoders/tiny-vit/model.safetensors": ("download-encoder image", "features image"),
    "data/encoders/tiny-bert/tokenizer.json": ("download-encoder", "features text"),
    "data/pairs/tiny/pairs.parquet": ("validate", "features text"),
    "data/relevance/tiny/relevance.npy": ("relevance", "evaluate"),
    f"{FEATURES}/tiny-vit/tokens.npy": ("features image", "train"),
    f"{FEATURES}/tiny-bert/pooled.npy": ("features text", "train"),
    f"{RUN}/model/model.safetensors": ("train", "export"),
    f"{RUN}/model/config.json": ("train", "export"),
    f"{RUN}/model/history.csv": ("train", "report"),
    f"{RUN}/embeddings/image.npy": ("export", "evaluate"),
    f"{RUN}/embeddings/text.faiss": ("export", "evaluate"),
    f"{RUN}/evaluation/queries.parquet": ("evaluate", "compare"),
    f"{RUN}/metrics.json": ("evaluate", "compare"),
}
# A folder, the one of equal form that comes to stand in its place, who makes it, and who reads it.
SWAPPED = {
    FEATURES + "/tiny-vit": (FEATURES + "/tiny-bert", "features image", "train"),
    "data/pairs/tiny": ("data/pairs/other", "validate", "train"),
    "data/relevance/tiny": ("data/relevance/other", "relevance", "evaluate"),
    f"{RUN}/model": (f"{OTHER_RUN}/model", "train", "export"),
    f"{RUN}/embeddings": (f"{OTHER_RUN}/embeddings", "export", "evaluate"),
    f"{RUN}/evaluation": (f"{OTHER_RUN}/evaluation", "evaluate", "compare"),
}


def made_anew(project: StagedProject, damaged: Path, maker: str, reader: str, expected: dict[str, str]) -> None:
    """The reader names what is damaged; once that is deleted, as it says, all is as it was."""
    said = project.run(reader, code=2)
    assert said.startswith("error: "), said
    assert str(damaged) in said
    assert "elete" in said
    assert "Traceback" not in said
    for place in STAGES[maker].outputs:
        path = project.root / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for place in STAGES[maker].kept:
        if not place.startswith(FEATURES):  # the kept rows of features are what a new store is made from
            shutil.rmtree(project.root / place, ignore_errors=True)
    project.run(maker)
    project.run(reader)
    assert project.contents(*STAGES[maker].outputs, *STAGES[reader].outputs) == expected


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_altered_or_exchanged_file_is_named_and_made_anew(project: StagedProject, file: str) -> None:
    (maker, reader), path = FILES[file], project.root / file
    expected, whole = project.contents(*STAGES[maker].outputs, *STAGES[reader].outputs), path.read_bytes()
    damages: list[Callable[[Path], bytes]] = [*DAMAGES]
    for damage in damages:
        path.unlink()  # features share their bytes with what they are made from
        path.write_bytes(whole)
        path.write_bytes(damage(path))
        if damage is not damages[-1]:
            assert str(path) in project.run(reader, code=2), damage.__name__
    made_anew(project, path, maker, reader, expected)


@pytest.mark.parametrize("folder", SWAPPED)
def test_a_folder_that_was_swapped_with_another_is_named_and_made_anew(
    project: StagedProject, folder: str
) -> None:
    other, maker, reader = SWAPPED[folder]
    if other.endswith("/other"):
        make_other_data(project)
    path = project.root / folder
    expected = project.contents(*STAGES[maker].outputs, *STAGES[reader].outputs)
    shutil.rmtree(path)
    shutil.copytree(project.root / other, path)
    made_anew(project, path, maker, reader, expected)


def make_other_data(project: StagedProject) -> None:
    """A second dataset with the same pictures and other captions."""
    project.clone.edit_params(datasets={"other": project.clone.params()["datasets"]["tiny"]})
    captions = project.root / "external/captions.csv"
    kept = captions.read_text()
    captions.write_text(kept.replace("dog", "mat").replace("cat", "dog"))
    for stage in ("download", "validate", "relevance"):
        project.run(stage, dataset="other")
    captions.write_text(kept)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_said_and_training_begins_anew(
    project: StagedProject, damage: Callable[[Path], bytes]
) -> None:
    expected = project.contents(*STAGES["train"].outputs)
    project.remove("train")
    checkpoint = project.root / STAGES["train"].kept[0] / "state.safetensors"
    project.run("train", stop_after_epochs(3), code=1)
    checkpoint.write_bytes(damage(checkpoint))
    assert f"{checkpoint} is damaged: training begins anew" in project.run("train")
    assert project.contents(*STAGES["train"].outputs) == expected


def stop_after_epochs(number: int) -> Callable[[], None]:
    """What makes a training in this process fail then."""

    def arrange() -> None:
        from relalign.training import loop

        run, epochs = loop._run_epoch, []

        def counted(*arguments: object, **named: object) -> object:
            epochs.append(1)
            if len(epochs) > number:
                raise KeyboardInterrupt
            return run(*arguments, **named)  # type: ignore[arg-type]

        loop._run_epoch = counted

    return arrange
