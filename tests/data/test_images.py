import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relalign.data.images import BadImageError, decode_image, load_image

LIMIT = 10_000


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def colours(path: Path) -> list[tuple[int, ...]]:
    return sorted(set(map(tuple, np.asarray(load_image(path, LIMIT)).reshape(-1, 3).tolist())))


def gradient(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((32, 32)).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_usual_mode_becomes_eight_bit_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (20, 10))
    path = save(tmp_path / ("a.tiff" if mode in ("CMYK", "YCbCr", "I", "LA") else "a.png"), image)
    decoded = load_image(path, LIMIT)
    assert (decoded.mode, decoded.size) == ("RGB", (20, 10))


def test_exif_rotation_is_made_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    image.paste("blue", (0, 0, 5, 10))
    decoded = decode_image(save(tmp_path / "a.png", image, exif=exif), LIMIT)
    assert decoded.pixels.size == (10, 30)
    assert decoded.pixels.getpixel((5, 0)) == (0, 0, 255)
    assert decoded.conversions == ("rotated",)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    path = save(tmp_path / name, Image.fromarray(values))
    assert colours(path) == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]
    assert decode_image(path, LIMIT).conversions == ("16-bit",)


def test_sixteen_bit_colour_is_scaled_not_clipped(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">6H", 65535, 257 * 100, 0, 257 * 7, 65535, 300)
    chunks = [(b"IHDR", struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert colours(tmp_path / "a.png") == [(7, 255, 1), (255, 100, 0)]


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "RGB with a transparent colour"])
def test_transparency_is_laid_on_white(tmp_path: Path, kind: str) -> None:
    if kind == "P":
        image, options = Image.new("P", (4, 4)), {"transparency": 0}
    elif kind.startswith("RGB w"):
        image, options = Image.new("RGB", (4, 4), "black"), {"transparency": (0, 0, 0)}
    else:
        image, options = Image.new(kind, (4, 4)), {}
    path = save(tmp_path / "a.png", image, **options)
    assert colours(path) == [(255, 255, 255)]
    assert decode_image(path, LIMIT).conversions == ("transparent",)


def test_half_transparent_black_is_mid_grey(tmp_path: Path) -> None:
    assert colours(save(tmp_path / "a.png", Image.new("RGBA", (4, 4), (0, 0, 0, 128)))) == [(127, 127, 127)]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_first_frame_of_an_animation_is_taken(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if name == "a.webp" else {}
    path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert colours(path) == [(255, 0, 0)]
    assert decode_image(path, LIMIT).conversions == ("animated",)


def test_cmyk_photograph_keeps_its_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK"), quality=100)
    decoded = decode_image(path, LIMIT)
    assert np.abs(np.asarray(decoded.pixels).astype(int) - (200, 30, 60)).max() <= 3
    assert decoded.conversions == ("cmyk",)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp", "a.tiff"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_truncated_file_is_unreadable_whatever_its_format(tmp_path: Path, name: str, kept: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = save(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(BadImageError, match=f"{name}: the image is unreadable"):
        load_image(path, LIMIT)


def test_missing_empty_and_foreign_files_have_their_own_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "folder.jpg").mkdir()
    names = ("empty.jpg", "page.jpg", "none.jpg", "folder.jpg")
    assert [_reason(tmp_path / name) for name in names] == ["empty", "unreadable", "missing", "missing"]


def _reason(path: Path) -> str:
    with pytest.raises(BadImageError) as caught:
        load_image(path, LIMIT)
    return caught.value.reason


def test_oversized_image_is_refused_from_its_header(tmp_path: Path) -> None:
    header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    (tmp_path / "bomb.png").write_bytes(
        bomb + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    assert _reason(tmp_path / "bomb.png") == "too large"
    exact = save(tmp_path / "exact.png", Image.new("RGB", (100, 100)))
    assert load_image(exact, 10_000).size == (100, 100)
    assert _reason(save(tmp_path / "over.png", Image.new("RGB", (101, 100)))) == "too large"


def test_floating_point_pixels_are_refused_for_want_of_a_range(tmp_path: Path) -> None:
    assert _reason(save(tmp_path / "a.tiff", Image.new("F", (4, 4)))) == "unreadable"
    assert _reason(save(tmp_path / "b.tiff", Image.new("I", (4, 4), 70_000))) == "unreadable"


def test_a_format_whose_reader_starts_another_program_is_not_read(tmp_path: Path) -> None:
    eps = save(tmp_path / "a.eps", Image.new("RGB", (4, 4)))
    named_otherwise = tmp_path / "a.jpg"
    named_otherwise.write_bytes(eps.read_bytes())
    for path in (eps, named_otherwise):
        with pytest.raises(BadImageError, match="UnidentifiedImageError"):
            load_image(path, LIMIT)


def test_an_image_that_is_something_else_as_well_is_its_pixels_and_nothing_more(tmp_path: Path) -> None:
    red = save(tmp_path / "a.png", Image.new("RGB", (4, 4), "red"))
    red.write_bytes(red.read_bytes() + b"<script>alert(1)</script>PK\x05\x06" + bytes(18))
    assert colours(red) == [(255, 0, 0)]
