"""`relalign search` prints what is nearest; what it cannot do is a sentence."""

import shutil

import pytest

from relalign.cli import main
from relalign.serve.runs import usable_methods
from relalign.system.terminal import printable
from tests.serve.served_project import METHODS


def search(project, *arguments: str) -> int:
    return main(["search", "--params", str(project[1].root / "params.yaml"), *arguments])


def test_a_text_finds_images_and_texts_with_score_and_path(project, service, capsys) -> None:
    caption = sorted(service.collection.captions)[3]
    assert search(project, service.collection.captions[caption], "--method", "cca", "--top", "2") == 0
    printed = capsys.readouterr().out
    assert "cca, seed 0, on the test split of openmoji" in printed
    assert printed.count("data/raw/openmoji/") == 4
    assert f"1   1.000  {service.collection.paths[service.collection.image_of[caption]]}" in printed


def test_an_image_is_searched_by_several_methods_and_re_ranked(project, service, capsys) -> None:
    path = service.collection.file(min(service.collection.paths))
    methods = ("--method", "contrastive", "--method", "cca")
    assert search(project, "--image", str(path), *methods, "--rerank") == 0
    printed = capsys.readouterr().out
    assert "contrastive, seed 0, on the test split of openmoji, re-ranked" in printed
    assert "cca has no fusion encoder" in printed


def test_a_caption_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31m dog\u202e é 狗") == "a\ufffd[31m dog\ufffd é 狗"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Nothing is asked"),
        (("--image", "absent.png"), "absent.png: the image is missing"),
        (("red", "--method", "clip"), "'clip' is not an entry of 'method'"),
        (("red", "--seed", "7"), "not trained with seed 7"),
        (("red", "--dataset", "absent"), "absent"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(project, capsys, arguments, said) -> None:
    assert search(project, *arguments) == 2
    assert said in capsys.readouterr().err


def test_methods_that_are_not_exported_are_left_out_and_none_at_all_is_an_error(
    project, tmp_path, capsys, caplog
) -> None:
    params, layout = project
    assert usable_methods(params, layout, seed=0) == [*METHODS]
    shutil.copytree(layout.root / "results", tmp_path / "results")
    moved = type(layout)(tmp_path, layout.dataset)
    shutil.rmtree(moved.run("cca", 0) / "embeddings")
    assert usable_methods(params, moved, seed=0) == ["contrastive"]
    assert "left out, as not exported with seed 0: cca" in caplog.text
    with pytest.raises(Exception, match="There is nothing to search"):
        usable_methods(params, moved, seed=9)
