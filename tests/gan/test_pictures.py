"""Every kind of file that people upload, made here: each opens as an upright RGB picture or ends in one sentence."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from gan.errors import PictureError
from gan.pictures import MAX_PIXELS, metadata, open_picture, png_bytes, read_metadata, to_rgb
from gan.settings import VERSION


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width=64, height=48):
    """Red grows to the right, green downwards: any turn or flip shows."""
    y, x = np.mgrid[:height, :width]
    array = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 40)], -1)
    return Image.fromarray(array.astype(np.uint8))


def noise(width=64, height=48):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def key(source, **options):
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)
    assert str(caught.value) and caught.value.say("id") != str(caught.value)
    return caught.value.key


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_opens(kind):
    picture = open_picture(encoded(gradient(), kind))
    assert picture.mode == "RGB" and picture.size == (64, 48)
    assert np.abs(np.asarray(picture, int) - np.asarray(gradient(), int)).mean() < 16


def test_paths_bytes_streams_and_pictures_are_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(gradient()))
    wanted = gradient().tobytes()
    opened = Image.open(path)
    stream = io.BytesIO(path.read_bytes())
    for source in (path, str(path), path.read_bytes(), stream, opened, gradient()):
        assert open_picture(source).tobytes() == wanted
    assert not stream.closed


def test_the_source_picture_is_left_alone():
    source = gradient()
    open_picture(source).putpixel((0, 0), (9, 9, 9))
    assert source.getpixel((0, 0)) == (0, 0, 40)


def test_files_that_are_no_pictures(tmp_path):
    pdf = b"%PDF-1.4\n" + b"".join(b"%d 0 obj << /Type /Page >> endobj\n" % page for page in range(20)) + b"%%EOF"
    for body, wanted in (
        (b"", "error.picture.empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "error.picture.unknown"),
        (pdf, "error.picture.pdf"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "error.picture.heic"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500), "error.picture.unknown"),
        (b"\xff\xd8\xff", "error.picture.unknown"),
        (b"GIF89a", "error.picture.unknown"),
    ):
        path = tmp_path / "cloth.jpg"
        path.write_bytes(body)
        assert key(path) == wanted
        assert key(body) == wanted
        assert key(io.BytesIO(body)) == wanted
    assert key(tmp_path / "none.jpg") == "error.picture.missing"


@pytest.mark.parametrize(
    "source", [None, 5, [1], bytearray(b"x"), io.StringIO("text")], ids=lambda one: type(one).__name__
)
def test_what_is_no_source_of_a_picture_is_refused(source):
    with pytest.raises(PictureError, match="Give a picture as a path"):
        open_picture(source)


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(PictureError, match="is a folder"):
        open_picture(tmp_path)


def test_a_format_outside_the_list_is_refused():
    assert key(encoded(gradient(), "PPM")) == "error.picture.unknown"
    assert key(encoded(gradient(), "PDF")) == "error.picture.pdf"
    assert key(encoded(gradient(), "EPS")) == "error.picture.unknown"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_pictures_are_refused_not_half_grey(kind):
    body = encoded(noise(), kind)
    assert key(body[: len(body) * 2 // 3]).startswith("error.picture.")
    assert key(body[: len(body) * 2 // 3], side=16).startswith("error.picture.")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_corrupt_body_is_refused():
    body = bytearray(encoded(noise()))
    body[len(body) // 2] ^= 0xFF
    assert key(bytes(body)) == "error.picture.broken"


def test_small_pictures_are_refused():
    assert key(encoded(Image.new("RGB", (1, 1)))) == "error.picture.small"
    assert key(encoded(Image.new("RGB", (200, 15)))) == "error.picture.small"
    assert open_picture(encoded(Image.new("RGB", (16, 16)))).size == (16, 16)


def test_huge_pictures_are_refused_before_they_are_decoded():
    started = time.process_time()
    assert key(png_header(30_000, 30_000)) == "error.picture.large"
    assert key(png_header(9_000, 9_000)) == "error.picture.large"
    assert key(png_header(2**31 - 1, 2**31 - 1)) in ("error.picture.large", "error.picture.unknown")
    assert time.process_time() - started < 1
    assert key(encoded(gradient()), max_pixels=1000) == "error.picture.large"
    assert Image.MAX_IMAGE_PIXELS > MAX_PIXELS  # Pillow's own limit is as it was


def test_a_real_huge_jpeg_is_refused():
    body = bytearray(encoded(gradient(), "JPEG"))
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
    assert key(bytes(body)) == "error.picture.large"
    assert key(bytes(body), side=224) == "error.picture.large"


def test_a_telephones_photo_is_never_decoded_in_full():
    scene = gradient(400, 300).resize((4000, 3000))
    picture = open_picture(encoded(scene, "JPEG", quality=90), side=224)
    assert 448 <= min(picture.size) < 1000
    small = np.asarray(picture.resize((8, 6)), int)
    assert np.abs(small - np.asarray(scene.resize((8, 6)), int)).max() < 8


def test_side_never_enlarges_and_leaves_small_ones_alone():
    assert open_picture(encoded(gradient(), "JPEG"), side=224).size == (64, 48)
    assert open_picture(encoded(gradient(400, 300), "JPEG"), side=224).size == (400, 300)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_applied(turn):
    upright = gradient(64, 32)
    # how a camera stores an upright scene under each orientation: the inverse of what the tag asks a viewer to do
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if turn == 1 else upright.transpose(Image.Transpose(undo[turn]))
    exif = Image.Exif()
    exif[0x0112] = turn
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        picture = open_picture(encoded(stored, kind, exif=exif))
        assert picture.size == (64, 32)
        assert np.abs(np.asarray(picture, int) - np.asarray(upright, int)).mean() < 12, kind
        assert picture.getexif().get(0x0112, 1) == 1  # nobody turns it a second time


def test_broken_exif_does_not_cost_the_picture():
    assert open_picture(encoded(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (64, 48)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    half = Image.new("RGBA", (32, 32), (0, 0, 0, 128))
    assert open_picture(encoded(clear)).getpixel((5, 5)) == (255, 255, 255)
    assert open_picture(encoded(clear, "WEBP", lossless=True)).getpixel((5, 5)) == (255, 255, 255)
    assert open_picture(encoded(half)).getpixel((5, 5)) == (127, 127, 127)
    assert open_picture(encoded(Image.new("LA", (32, 32), (0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_with_transparency():
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    picture.paste(0, (0, 0, 16, 32))
    for kind in ("PNG", "GIF"):
        opened = open_picture(encoded(picture, kind, transparency=0))
        assert opened.getpixel((0, 0)) == (255, 255, 255)
        assert opened.getpixel((31, 0)) == (0, 0, 255)
    assert open_picture(encoded(picture)).getpixel((0, 0)) == (255, 0, 0)


def test_grey_bilevel_and_rgb_with_a_transparent_colour():
    assert open_picture(encoded(Image.new("L", (20, 20), 77))).getpixel((0, 0)) == (77, 77, 77)
    assert open_picture(encoded(Image.new("1", (20, 20), 1))).getpixel((0, 0)) == (255, 255, 255)
    keyed = encoded(Image.new("RGB", (20, 20), (1, 2, 3)), transparency=(1, 2, 3))
    assert open_picture(keyed).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk():
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    red, green, blue = open_picture(encoded(cyan, "JPEG", quality=95)).getpixel((5, 5))
    assert red < 20 and green > 235 and blue > 235
    assert open_picture(encoded(cyan, "TIFF")).getpixel((5, 5)) == (0, 255, 255)
    assert open_picture(encoded(cyan.resize((3000, 3000)), "JPEG"), side=32).mode == "RGB"


def test_sixteen_bits_keep_their_greys():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        opened = np.asarray(open_picture(encoded(Image.fromarray(ramp), kind)), float)[..., 0]
        assert np.abs(opened - ramp / 257).max() <= 1
    floats = Image.fromarray((ramp / 65535).astype(np.float32))
    assert np.abs(np.asarray(open_picture(encoded(floats, "TIFF")), float)[..., 0] - ramp / 257).max() <= 1
    spoilt = np.full((32, 32), np.nan, np.float32)
    assert open_picture(Image.fromarray(spoilt)).getpixel((0, 0)) == (0, 0, 0)
    # One value without end does not turn all the others black.
    endless = np.full((32, 32), 0.5, np.float32)
    endless[0, 0] = np.inf
    assert open_picture(Image.fromarray(endless)).getpixel((20, 20)) == (128, 128, 128)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_deep_greys_that_fit_eight_bits_stay_as_they_are(kind):
    ramp = np.linspace(0, 200, 64 * 64).reshape(64, 64).astype(kind)
    opened = np.asarray(open_picture(encoded(Image.fromarray(ramp), "TIFF")), float)[..., 0]
    assert np.abs(opened - ramp).max() <= 1


def test_greys_below_nothing_are_told_apart_too():
    below = np.linspace(-100, 100, 64, dtype=np.float32).repeat(32).reshape(64, 32)
    column = np.asarray(open_picture(Image.fromarray(below)), int)[:, 0, 0]
    assert (np.diff(column) > 0).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    body = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **{"GIF": {}}.get(kind, {}))
    red, green, blue = open_picture(body).getpixel((5, 5))
    assert red > 240 and green < 15 and blue < 15


def test_a_jpeg_of_several_pictures():
    body = encoded(gradient(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert open_picture(body).size == (64, 48)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"]),
    st.binary(max_size=400),
)
def test_random_bytes_end_in_a_picture_error(start, rest):
    with pytest.raises(PictureError):
        open_picture(start + rest)
    assert_only_picture_errors(read_metadata, start + rest)


BODIES = {
    kind: encoded(
        gradient(24, 20), kind, **({"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"} if kind == "JPEG" else {})
    )
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
}


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(BODIES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_damaged_pictures_open_or_end_in_a_picture_error(kind, changes, kept):
    body = bytearray(BODIES[kind])
    for place, value in changes:
        body[int(place * len(body))] = value
    body = bytes(body[: max(1, int(len(body) * kept))])
    assert_only_picture_errors(open_picture, body)
    assert_only_picture_errors(lambda source: open_picture(source, side=4), body)


def assert_only_picture_errors(function, body):
    try:
        result = function(body)
    except PictureError as error:
        assert str(error)
    else:
        assert isinstance(result, dict) or result.mode == "RGB"


@given(
    st.dictionaries(
        st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), min_size=1, max_size=20).filter(str.strip),
        st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=200),
        max_size=5,
    )
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_metadata_comes_back(notes):
    body = png_bytes(gradient(), notes)
    assert read_metadata(body) == notes
    assert open_picture(body).tobytes() == gradient().tobytes()


def test_a_generated_picture_tells_how_it_was_made():
    facts = metadata(model="batik-kawung", seed=2**31 - 1, truncation=0.80)
    told = {"model": "batik-kawung", "seed": str(2**31 - 1), "truncation": "0.8"}
    assert facts == told | {"software": "Canting", "version": VERSION}
    assert metadata(model="batik-v2.0")["model"] == "batik-v2.0"
    assert metadata(truncation=1.0)["truncation"] == "1" and float(metadata(truncation=1 / 3)["truncation"]) == 1 / 3


def test_metadata_of_other_files(tmp_path):
    assert read_metadata(encoded(gradient(), "JPEG")) == {}
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(gradient(), {"seed": "7"}))
    assert read_metadata(path) == {"seed": "7"}
    for body in (b"", b"<html>", path.read_bytes()[:60]):
        with pytest.raises(PictureError):
            read_metadata(body)
    # From the header, before anything is decoded.
    with pytest.raises(PictureError) as caught:
        read_metadata(png_header(9_000, 9_000))
    assert caught.value.key == "error.picture.large"


def test_to_rgb_returns_a_new_picture():
    picture = gradient()
    assert to_rgb(picture) is not picture
