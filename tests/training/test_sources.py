import io
import os
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.errors import DataError
from training.data import sources
from training.data.pictures import mix, order
from training.data.sources import ZipLimits, open_source, zip_entries


def png(colour=(200, 100, 50), size=(40, 32)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(colour, size):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, with a cache of its own."""
    monkeypatch.setenv("CANTING_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write(folder, *names, body=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png() if body is None else body)


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def key(name, **options):
    with pytest.raises(DataError) as caught:
        open_source(name, options.pop("resolution", 32), **options)
    assert str(caught.value) and caught.value.say("id") != str(caught.value)
    return caught.value.key


# --- folders


def test_a_flat_folder(folder):
    write(folder, "cloth/b.png", "cloth/a.png", "cloth/.hidden.png", "cloth/notes.txt")
    for name in ("cloth", str(folder / "cloth")):
        data = open_source(name, 32)
        assert data.names == ["a.png", "b.png"] and data.labels is None and data.classes == []
        assert [tuple(picture.shape) for picture in data.pictures] == [(3, 32, 40)] * 2
        assert data.pictures[0].dtype == torch.uint8 and data.pictures[0][:, 0, 0].tolist() == [200, 100, 50]
        assert data.description == "cloth: 2 pictures"


def test_unreadable_files_are_left_out_and_named(folder):
    write(folder, "cloth/a.png", "cloth/z.png")
    write(folder, "cloth/html.jpg", body=b"<html>not found</html>")
    write(folder, "cloth/half.png", body=png((1, 2, 3))[:60])
    write(folder, "cloth/empty.jpg", body=b"")
    data = open_source("cloth", 32)
    assert data.names == ["a.png", "z.png"]
    assert data.description == "cloth: 2 pictures; 3 unreadable and left out (empty.jpg, half.png, html.jpg)"


def test_large_pictures_are_reduced_and_small_ones_kept(folder):
    for name, size in {"a.png": (400, 200), "b.png": (90, 300), "c.png": (41, 40), "d.png": (20, 24)}.items():
        write(folder, f"cloth/{name}", body=png(size=size))
    write(folder, "cloth/e.jpg", body=jpeg((9, 9, 9), (1600, 1200)))
    shapes = [tuple(picture.shape) for picture in open_source("cloth", 32).pictures]
    assert shapes == [(3, 40, 80), (3, 133, 40), (3, 40, 41), (3, 24, 20), (3, 40, 53)]


def test_grey(folder):
    write(folder, "cloth/a.png", body=png((80, 80, 80)))
    picture = open_source("cloth", 32, channels=1).pictures[0]
    assert picture.shape == (1, 32, 40) and picture.unique().tolist() == [80]


def test_class_folders(folder):
    write(folder, "set/kawung/2.png", "set/kawung/1.png", "set/bali/9.png", "set/celup/3.png", "set/readme.txt")
    (folder / "set" / "nothing").mkdir()
    data = open_source("set", 32)
    assert data.classes == ["bali", "celup", "kawung"]
    assert data.names == ["bali/9.png", "celup/3.png", "kawung/1.png", "kawung/2.png"]
    assert data.labels.tolist() == [0, 1, 2, 2] and data.labels.dtype == torch.int64


def test_chosen_classes_in_the_order_asked_for(folder):
    write(folder, "set/kawung/1.png", "set/bali/9.png", "set/celup/3.png")
    data = open_source("set:kawung, bali", 32)
    assert data.classes == ["kawung", "bali"]
    assert data.names == ["kawung/1.png", "bali/9.png"] and data.labels.tolist() == [0, 1]
    assert key("set:kawung,parang") == "error.data.classes"
    write(folder, "flat/1.png")
    assert key("flat:kawung") == "error.data.classes"


def test_a_selection_longer_than_a_file_name(folder):
    names = [f"batik-{number:03}" for number in range(40)]
    write(folder, *(f"set/{name}/1.png" for name in names))
    assert open_source(f"set:{','.join(names)}", 32).classes == names
    assert key("x" * 5000) == key("a\0b") == "error.data.folder"


def test_a_class_of_unreadable_files_keeps_its_number(folder):
    write(folder, "set/a/1.png", "set/c/1.png")
    write(folder, "set/b/1.png", body=b"<html>")
    data = open_source("set", 32)
    assert data.classes == ["a", "b", "c"] and data.labels.tolist() == [0, 2]


def test_missing_and_empty_sources_say_what_to_do(folder):
    for name in ("batik-gan", "batik-gan/batik-parang", "batik-motifs:bali", "anime-faces", "mnist:train"):
        assert key(name) == "error.data.missing"
    with pytest.raises(DataError, match="python -m training fetch batik-motifs") as caught:
        open_source("batik-motifs:bali,betawi", 32)
    assert str(folder / "batik-motifs") in str(caught.value)
    with pytest.raises(DataError, match="python -m training fetch cifar10"):
        open_source("cifar10:test", 32)
    # What is there in part is not fetched again by itself.
    for name in ("batik-gan/batik-parang", "cifar10:test"):
        (folder / name.split("/")[0].split(":")[0]).mkdir()
        with pytest.raises(DataError, match="delete it and fetch it again with python -m training fetch"):
            open_source(name, 32)
    assert key("cifar10") == key("mnist:valid") == "error.data.split"
    assert key("no-such-folder") == key(str(folder / "none")) == "error.data.folder"
    (folder / "empty").mkdir()
    assert key("empty") == "error.data.empty"


def test_names_stay_inside_the_data_folder(folder):
    write(folder.parent, "outside/a.png")
    assert key("../outside") == "error.data.name"
    assert len(open_source(str(folder.parent / "outside"), 32)) == 1


# --- zips


def test_zips_are_read_like_folders(folder):
    zipped(folder / "flat.zip", {"cloths/b.png": png(), "cloths/a.png": png(), "__MACOSX/cloths/._a.png": b"x"})
    data = open_source("flat.zip", 32)
    assert data.names == ["a.png", "b.png"] and data.classes == []
    zipped(folder / "set.zip", {"top/x/kawung/1.png": png(), "top/x/bali/1.png": png(), "top/x/bali/2.jpg": b"<html>"})
    data = open_source("set.zip", 32)
    assert data.classes == ["bali", "kawung"] and data.labels.tolist() == [0, 1]
    assert "1 unreadable and left out (bali/2.jpg)" in data.description
    assert open_source(f"{folder / 'set.zip'}:kawung", 32).classes == ["kawung"]
    # As Windows' own PowerShell writes them.
    zipped(folder / "windows.zip", {"kawung\\1.png": png(), "bali\\1.png": png(), "bali\\2.png": png()})
    assert open_source("windows.zip", 32).classes == ["bali", "kawung"]
    (folder / "windows.zip").unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["flat.zip", "set.zip"]


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "\\\\host\\evil.png"]
)
def test_zip_names_that_lead_outside(folder, name):
    zipped(folder / "a.zip", {"good.png": png(), name: png()})
    assert key("a.zip") == "error.data.zip_name"


def test_links_in_zips(folder):
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    zipped(folder / "a.zip", {"good.png": png(), link: "/etc/passwd"})
    assert key("a.zip") == "error.data.zip_name"


def test_zip_bombs(folder):
    zipped(folder / "ratio.zip", {"a.bmp": bytes(30_000_000)})
    assert os.stat(folder / "ratio.zip").st_size < 100_000
    assert key("ratio.zip") == "error.data.zip_large"
    path = zipped(folder / "a.zip", {f"{i}.png": png() for i in range(4)})
    size = len(png())
    for limits in (ZipLimits(files=3), ZipLimits(file_bytes=size - 1), ZipLimits(total_bytes=4 * size - 1)):
        with pytest.raises(DataError) as caught, zip_entries(path, limits):
            pass
        assert caught.value.key == "error.data.zip_large"
    with zip_entries(path, ZipLimits(4, size, 4 * size)) as entries:
        assert len(entries) == 4


def test_a_zip_of_too_many_is_refused_before_its_list_is_read(folder, monkeypatch):
    path = zipped(folder / "many.zip", {f"{i}": b"" for i in range(200)})
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("a list of any length was read"))
    with pytest.raises(DataError) as caught, zip_entries(path, ZipLimits(files=5)):
        pass
    assert caught.value.key == "error.data.zip_large"


def test_a_zip_that_lies_about_its_sizes(folder):
    """Declared as 100 bytes, unpacked 50 MB: reading stops at what was declared."""
    size = 50_000_000
    path = zipped(folder / "a.zip", {"a.bmp": bytes(size), "b.png": png()})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 100)))
    tracemalloc.start()
    data = open_source("a.zip", 32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data.names == ["b.png"] and "a.bmp" in data.description
    assert peak < 5_000_000


def test_rare_methods_of_compression_are_refused(folder):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(folder / "a.zip", "w", method) as archive:
            archive.writestr("a.png", png())
        assert key("a.zip") == "error.data.zip"


def test_files_that_are_no_zips(folder):
    write(folder, "html.zip", body=b"<html>")
    write(folder, "empty.zip", body=b"")
    path = zipped(folder / "half.zip", {"a.png": png()})
    path.write_bytes(path.read_bytes()[:-30])
    assert key("html.zip") == key("empty.zip") == key("half.zip") == "error.data.zip"
    zipped(folder / "none.zip", {"a.txt": "no picture"})
    assert key("none.zip") == "error.data.empty"


def test_encrypted_zips(folder):
    path = zipped(folder / "a.zip", {"a.png": png()})
    body = bytearray(path.read_bytes())
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(body))
    assert key("a.zip") == "error.data.zip"


ZIPS = []
for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("cloths/a.png", png())
    ZIPS.append(buffer.getvalue())


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(ZIPS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
    st.floats(0, 1).map(lambda kept: max(kept, 0.5) if kept < 0.9 else 1.0),
)
def test_damaged_zips_open_or_end_in_a_data_error(tmp_path_factory, body, changes, kept):
    body = bytearray(body[: int(len(body) * kept)])
    for place, value in changes:
        body[int(place * len(body))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(body)
    try:
        assert len(open_source(str(path), 32)) == 1
    except DataError as error:
        assert str(error)


# --- archives and torchvision's sets


def archived(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))


def test_cifar10_from_the_archive(folder, monkeypatch):
    colours = {"dog/1": (250, 0, 0), "cat/2": (0, 250, 0), "cat/1": (0, 0, 250)}
    files = {
        f"{split}/{name}.jpg": jpeg(colour, (32, 32)) for split in ("train", "test") for name, colour in colours.items()
    }
    archived(folder / "cifar10-jpeg.tar.gz", {**files, "train/readme.txt": b"x"})
    data = open_source("cifar10:train", 32)
    assert data.pictures.shape == (3, 3, 32, 32) and data.pictures.dtype == torch.uint8
    assert data.names == ["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg"]
    assert data.classes == ["cat", "dog"] and data.labels.tolist() == [0, 0, 1]
    assert data.pictures.float().mean((2, 3)).argmax(1).tolist() == [2, 1, 0]
    assert "CIFAR-10 (JPEG)" in data.description
    assert sorted(path.name for path in folder.iterdir()) == ["cifar10-jpeg.tar.gz"]

    monkeypatch.setattr(sources.tarfile, "open", lambda *_: pytest.fail("the cache was not used"))
    again = open_source("cifar10:train", 32)
    assert torch.equal(again.pictures, data.pictures) and again.names == data.names


def test_a_changed_archive_or_broken_cache_is_read_anew(folder):
    archived(
        folder / "anime-faces-64.tar.gz", {"faces/2.jpg": jpeg("red", (64, 64)), "faces/1.jpg": jpeg("blue", (64, 64))}
    )
    data = open_source("anime-faces", 64)
    assert data.names == ["faces/1.jpg", "faces/2.jpg"] and data.pictures.shape == (2, 3, 64, 64)
    (cache,) = (folder.parent / "cache" / "canting").iterdir()
    cache.write_bytes(cache.read_bytes()[:100])
    assert torch.equal(open_source("anime-faces", 64).pictures, data.pictures)
    archived(folder / "anime-faces-64.tar.gz", {"faces/3.jpg": jpeg("green", (64, 64))})
    assert open_source("anime-faces", 64).names == ["faces/3.jpg"]


def test_a_cache_that_cannot_be_written_is_no_error(folder, monkeypatch):
    archived(folder / "anime-faces-64.tar.gz", {"faces/1.jpg": jpeg("blue", (64, 64))})
    (folder / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert len(open_source("anime-faces", 64)) == 1


def test_half_an_archive_is_refused(folder):
    rng = np.random.default_rng(0)
    files = {}
    for i in range(20):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
        files[f"faces/{i}.jpg"] = buffer.getvalue()
    path = folder / "anime-faces-64.tar.gz"
    archived(path, files)
    whole = path.read_bytes()
    for kept in (0, 100, len(whole) // 2, len(whole) - 1000):
        path.write_bytes(whole[:kept])
        assert key("anime-faces") == "error.data.broken"
    assert not (folder.parent / "cache" / "canting").exists()


def test_anime_faces_from_a_folder(folder):
    write(folder, "anime-faces/b.png", body=png((10, 20, 30), (100, 80)))
    write(folder, "anime-faces/a.png", body=png((90, 80, 70), (50, 50)))
    data = open_source("anime-faces", 64)
    assert data.pictures.shape == (2, 3, 64, 64) and data.names == ["a.png", "b.png"]
    assert data.pictures[1, :, 30, 30].tolist() == [10, 20, 30]


def test_mnist(folder):
    raw = folder / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 3), ("t10k", 2)):
        body = bytes(range(count)) * 28 * 28
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + body)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))
    data = open_source("mnist:train", 28)
    assert data.pictures.shape == (3, 1, 28, 28) and data.pictures.dtype == torch.uint8
    assert data.labels.tolist() == [0, 1, 2] and data.classes == list("0123456789")
    assert len(open_source("mnist:test", 28)) == 2
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-500])
    assert key("mnist:train") == "error.data.broken"
    images.unlink()
    assert key("mnist:train") == "error.data.broken"


# --- the real data


def test_the_real_batik_folders(data):
    data("batik-gan")
    data("batik-motifs")
    parang = open_source("batik-gan/batik-parang!all", 64)
    assert len(parang) == 455 and "unreadable" not in parang.description
    three = open_source("batik-motifs:batik-bali,batik-betawi,batik-celup", 64)
    assert three.labels.bincount().tolist() == [38, 40, 43]
    assert max(min(picture.shape[1:]) for picture in three.pictures) <= 80


def test_the_real_mnist(data):
    data("mnist")
    digits = open_source("mnist:test", 28)
    assert digits.pictures.shape == (10_000, 1, 28, 28) and digits.labels.bincount().min() > 800


# --- the order in which pictures are drawn


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 2**62))
def test_each_pass_visits_every_item_once(count, epoch, seed):
    assert sorted(order(count, count, epoch * count, seed)) == list(range(count))


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 2**62), st.lists(st.integers(0, 25), max_size=8))
def test_the_stream_does_not_depend_on_how_it_is_cut(count, first, seed, pieces):
    whole = order(count, sum(pieces), first, seed)
    joined, position = [], first
    for piece in pieces:
        joined += order(count, piece, position, seed)
        position += piece
    assert joined == whole


@given(st.integers(2, 2**62), st.integers(0, 1000))
def test_passes_and_seeds_differ(seed, epoch):
    def one_pass(seed, epoch):
        return order(50, 50, epoch * 50, seed)

    assert one_pass(seed, epoch) != one_pass(seed, epoch + 1)
    assert one_pass(seed, epoch) != one_pass(seed + 1, epoch)


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_mix_is_a_seed_and_feels_every_number_and_their_order(numbers):
    seed = mix(*numbers)
    assert 0 <= seed < 2**63 and seed == mix(*numbers)
    for place in range(len(numbers)):
        assert mix(*numbers[:place], numbers[place] ^ 1, *numbers[place + 1 :]) != seed
    if numbers != numbers[::-1]:
        assert mix(*numbers[::-1]) != seed


def test_drawn_textures_are_the_same_each_time_and_all_differ():
    data = open_source("textures", 256)
    assert data.pictures.shape == (100, 3, 256, 256) and data.pictures.dtype == torch.uint8 and data.labels is None
    assert torch.equal(data.pictures, open_source("textures", 64).pictures)
    assert len({picture.numpy().tobytes() for picture in data.pictures}) == 100
    # None is of one colour: that would be told by its contrast alone.
    assert data.pictures.float().std((2, 3)).amax(1).min() > 3
