import sys
import types

import pytest
import torchvision
from PIL import Image

from gan.errors import DataError
from training.data import fetch as fetching
from training.data.fetch import ORIGINS, fetch
from training.data.sources import FETCHABLE, open_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CANTING_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """Stands in for kagglehub: answers with a folder made here, and notes what it was asked for."""
    asked, root = [], tmp_path / "kagglehub" / "versions" / "1"
    root.mkdir(parents=True)

    def dataset_download(slug):
        asked.append(slug)
        return str(root)

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=dataset_download))
    return types.SimpleNamespace(root=root, asked=asked)


def draw(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)


def test_what_can_be_fetched_is_what_the_sources_ask_for():
    assert set(ORIGINS) == set(FETCHABLE)


def test_batik_for_the_generators(folder, kaggle):
    draw(kaggle.root, "dataset/Batik Parang/1.png", "dataset/Mega_Mendung/1.png", "dataset/kawung/1.jpg")
    draw(kaggle.root, "dataset/Batik Bali/1.png")
    (kaggle.root / "dataset" / "labels.csv").write_text("a,b")
    assert fetch("batik-gan") == folder / "batik-gan"
    assert kaggle.asked == ["hydiexe/dataset-fix"]
    assert open_source("batik-gan", 32).classes == ["batik-kawung", "batik-megamendung", "batik-parang"]
    assert len(open_source("batik-gan/batik-parang", 32)) == 1
    assert [path.name for path in folder.iterdir()] == ["batik-gan"]


def test_batik_motifs_with_one_class_in_two_folders(folder, kaggle):
    draw(kaggle.root, "train/batik-bali/1.png", "train/batik-bali/2.png", "test/batik-bali/1.png", "train/Celup/1.png")
    fetch("batik-motifs")
    data = open_source("batik-motifs", 32)
    assert data.names == ["batik-bali/1-2.png", "batik-bali/1.png", "batik-bali/2.png", "batik-celup/1.png"]
    assert kaggle.asked == ["dionisiusdh/indonesian-batik-motifs"]


def test_anime_faces(folder, kaggle):
    draw(kaggle.root, "images/1.png", "images/2.png")
    fetch("anime-faces")
    assert kaggle.asked == ["splcher/animefacedataset"]
    assert open_source("anime-faces", 64).pictures.shape == (2, 3, 64, 64)


def test_files_are_copied_where_they_cannot_be_linked(folder, kaggle, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(fetching.os, "link", refuse)
    draw(kaggle.root, "images/1.png")
    fetch("anime-faces")
    assert len(open_source("anime-faces", 64)) == 1


def test_what_is_there_is_left_alone(folder, kaggle):
    (folder / "batik-gan").mkdir(parents=True)
    assert fetch("batik-gan") == folder / "batik-gan"
    assert kaggle.asked == []


def test_failures_leave_nothing_behind(folder, kaggle, monkeypatch):
    with pytest.raises(DataError, match="no usable picture"):
        fetch("batik-motifs")
    with pytest.raises(DataError, match="batik-gan, batik-motifs"):
        fetch("batik")

    def fail(slug):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(sys.modules["kagglehub"], "dataset_download", fail)
    with pytest.raises(DataError, match=r"could not be fetched from hydiexe/dataset-fix: no route to host"):
        fetch("batik-gan")
    assert list(folder.iterdir()) == []


def test_an_interrupted_download_is_no_data_set(folder, kaggle, monkeypatch):
    draw(kaggle.root, "images/1.png", "images/2.png")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching.os, "link", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("anime-faces")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("cifar10", "CIFAR10")])
def test_torchvisions_sets_go_where_the_sources_look(folder, monkeypatch, name, kind):
    def download(root, download):
        assert download
        (root / "raw").mkdir()

    monkeypatch.setattr(torchvision.datasets, kind, download)
    assert (fetch(name) / "raw").is_dir()
