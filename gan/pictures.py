"""Pictures from anywhere, made into one thing: an upright RGB picture of a sane size, or one clear error.

Pillow's own globals stay as they are; everything is bounded per call.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from gan.errors import PictureError
from gan.settings import VERSION

# What people have. Each further format is one more decoder that a stranger's file can reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
MAX_PIXELS = 60_000_000
MIN_SIDE = 16

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Source = str | Path | bytes | BinaryIO | Image.Image


def open_picture(source: Source, max_pixels: int = MAX_PIXELS, side: int | None = None) -> Image.Image:
    """Any picture as an upright RGB one: EXIF rotation applied, transparency laid on white, the first frame of many.

    Args:
        source: a path, the file's bytes, an open binary file (left open) or a picture that Pillow has opened.
        max_pixels: more than that is refused from the header, before anything is decoded.
        side: the short side that the caller will reduce to. Large JPEGs are then decoded at 1/2, 1/4 or 1/8 of their
            size, never below twice this side: ten times faster for a photo from a telephone.

    Returns:
        A new picture in mode RGB; the source is left as it was.

    Raises:
        PictureError: whatever is wrong with the file.
    """
    if isinstance(source, Image.Image):
        return _decode(source.copy, source, max_pixels)
    stream: Path | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    if isinstance(stream, str):
        stream = Path(stream)
    _check_not_empty(stream)
    try:
        picture = Image.open(stream, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("error.picture.large", megapixels=max_pixels // 1_000_000) from error
    except UnidentifiedImageError as error:
        raise PictureError(_unknown_kind(stream)) from error
    except Exception as error:  # decoders raise nearly anything on hostile input
        raise PictureError("error.picture.broken") from error

    def load() -> Image.Image:
        if side:
            short = min(picture.size)
            picture.draft(None, tuple(max(1, 2 * side * length // short) for length in picture.size))
        picture.load()
        return picture

    try:
        return _decode(load, picture, max_pixels)
    finally:
        if isinstance(stream, Path):
            picture.close()


def _check_not_empty(stream: Path | BinaryIO) -> None:
    try:
        if isinstance(stream, Path):
            if stream.is_dir():
                raise PictureError("error.picture.folder", path=stream)
            empty = stream.stat().st_size == 0
        else:
            start = stream.tell()
            beginning = stream.read(1)
            stream.seek(start)
            if not isinstance(beginning, bytes):
                raise PictureError("error.picture.source")
            empty = not beginning
    except FileNotFoundError as error:
        raise PictureError("error.picture.missing", path=stream) from error
    except (AttributeError, TypeError) as error:
        raise PictureError("error.picture.source") from error
    except (OSError, ValueError) as error:
        raise PictureError("error.picture.broken") from error
    if empty:
        raise PictureError("error.picture.empty")


def _unknown_kind(stream: Path | BinaryIO) -> str:
    """The error for a file in none of our formats: what people often send by mistake is named."""
    try:
        with stream.open("rb") if isinstance(stream, Path) else contextlib.nullcontext(stream) as file:
            if file is stream:
                file.seek(0)
            start = file.read(1024)
    except (OSError, ValueError):
        return "error.picture.unknown"
    if b"%PDF-" in start:
        return "error.picture.pdf"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"):
        return "error.picture.heic"
    return "error.picture.unknown"


def _decode(load, picture: Image.Image, max_pixels: int) -> Image.Image:
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError("error.picture.large", megapixels=max_pixels // 1_000_000)
    if min(width, height) < MIN_SIDE:
        raise PictureError("error.picture.small", width=width, height=height, least=MIN_SIDE)
    try:
        picture = load()
        turn = UPRIGHT.get(_orientation(picture))
        picture = to_rgb(picture)
        return picture.transpose(turn) if turn is not None else picture
    except Exception as error:
        raise PictureError("error.picture.broken") from error


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a picture with broken notes is still a picture
        return 1


def to_rgb(picture: Image.Image) -> Image.Image:
    """A loaded picture of any mode in mode RGB: transparency on white, 16 and 32 bits scaled down to 8."""
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    rgb = picture.convert("RGB")
    clean = rgb.copy() if rgb is picture else rgb
    clean.info = {}
    return clean


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A deep grey picture in mode L. Pillow's own conversion would clip at 255: a 16-bit scan turns white."""
    import numpy as np

    values = np.nan_to_num(np.asarray(picture, dtype=np.float32), posinf=0, neginf=0)
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:  # no agreed range: use what the picture has, unless that fits 8 or 16 bits
        low, high = min(0.0, float(values.min())), float(values.max())
        high = next((top for top in (1.0, 255.0, 65535.0) if high <= top), high)
    scaled = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


def metadata(**facts: object) -> dict[str, str]:
    """What a generated PNG says about itself: what made it (``model``, ``seed``, ``truncation``, …), and Canting's
    version."""
    # Of a number 1.0 the page says 1; a name may well end in ".0".
    told = {k: str(value).removesuffix(".0" if isinstance(value, float) else "") for k, value in facts.items()}
    return told | {"software": "Canting", "version": VERSION}


def png_bytes(picture: Image.Image, metadata: dict[str, str] | None = None) -> bytes:
    """The picture as a PNG file whose text chunks carry ``metadata``."""
    notes = PngInfo()
    for key, value in (metadata or {}).items():
        notes.add_text(key, str(value))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def read_metadata(source: bytes | str | Path) -> dict[str, str]:
    """The text chunks of a PNG file; nothing for other formats.

    Raises:
        PictureError: for a file that is no picture, or a broken one.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    _check_not_empty(stream)
    try:
        with Image.open(stream, formats=FORMATS) as picture:
            if picture.format != "PNG":
                return {}
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureError("error.picture.large", megapixels=MAX_PIXELS // 1_000_000)
            return {key: str(value) for key, value in picture.text.items()}
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("error.picture.unknown") from error
    except Exception as error:
        raise PictureError("error.picture.broken") from error
