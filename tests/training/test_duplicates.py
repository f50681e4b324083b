import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.errors import PictureError
from training import duplicates
from training.data.sources import to_tensor
from training.duplicates import duplicate_groups


def cloth(seed, width=160, height=120):
    """A picture with structure at several scales, different for every seed."""
    rng = np.random.default_rng(seed)
    grey = sum(
        np.asarray(
            Image.fromarray(rng.random((side, side), np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        )
        for side in (4, 8, 16)
    )
    return Image.fromarray((255 * (grey - grey.min()) / np.ptp(grey)).astype(np.uint8)).convert("RGB")


def recoloured(picture):
    return Image.merge(
        "RGB", [channel.point(lambda v, k=k: 40 * k + v * 0.6) for k, channel in enumerate(picture.split())]
    )


CHANGES = {
    "smaller": lambda picture: picture.resize((80, 60)),
    "stretched": lambda picture: picture.resize((120, 160)),
    "recoloured": recoloured,
    "square": lambda picture: picture.crop((20, 0, 140, 120)),
    "mirrored square, smaller": lambda picture: picture.crop((20, 0, 140, 120)).transpose(0).resize((64, 64)),
    "left end": lambda picture: picture.crop((0, 0, 120, 120)),
    "trimmed": lambda picture: picture.crop((8, 6, 152, 114)),
    "without its lower edge": lambda picture: picture.crop((0, 0, 160, 98)),
    **{turn.name: lambda picture, turn=turn: picture.transpose(turn) for turn in Image.Transpose},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(change):
    originals = [cloth(seed) for seed in range(6)]
    copies = [CHANGES[change](picture) for picture in originals]
    assert duplicate_groups(originals + copies) == [0, 1, 2, 3, 4, 5] * 2
    assert duplicate_groups(copies + originals) == [0, 1, 2, 3, 4, 5] * 2


def test_jpeg_copies_in_files(tmp_path):
    paths = []
    for seed in range(4):
        for quality in (30, 95):
            paths.append(tmp_path / f"{seed}-{quality}.jpg")
            cloth(seed).save(paths[-1], quality=quality)
    assert duplicate_groups(paths) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert duplicate_groups([str(path) for path in paths]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_tensors_and_greys():
    colour = [to_tensor(cloth(seed)) for seed in range(3)]
    grey = [to_tensor(cloth(seed), channels=1) for seed in range(3)]
    assert duplicate_groups(colour + grey) == [0, 1, 2, 0, 1, 2]
    assert duplicate_groups(torch.stack(colour)) == [0, 1, 2]


def test_files_that_are_no_pictures_are_compared_by_their_bytes(tmp_path):
    for name, body in {"a.jpg": b"<html>1", "b.jpg": b"<html>2", "c.jpg": b"<html>1"}.items():
        (tmp_path / name).write_bytes(body)
    cloth(0).save(tmp_path / "d.png")
    cloth(1).save(tmp_path / "e.png")
    cloth(0).resize((80, 60)).save(tmp_path / "f.png")
    assert duplicate_groups(sorted(tmp_path.iterdir())) == [0, 1, 0, 2, 3, 2]
    with pytest.raises(PictureError, match="none.jpg"):
        duplicate_groups([tmp_path / "none.jpg"])


def test_chains_and_nothing():
    a = cloth(0)
    square = a.crop((20, 0, 140, 120))
    turned = square.transpose(Image.Transpose.ROTATE_90)
    assert duplicate_groups([a, cloth(1), turned, square]) == [0, 1, 0, 0]
    assert duplicate_groups([]) == []


def test_features_find_more():
    features = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert duplicate_groups([cloth(seed) for seed in range(5)], features) == [0, 1, 0, 2, 3]


def test_more_pictures_than_are_compared_at_once(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    cloths = [cloth(seed) for seed in range(4)]
    assert duplicate_groups([*cloths, *(one.resize((80, 60)) for one in cloths[2:])]) == [0, 1, 2, 3, 2, 3]
    features = torch.eye(4)[[0, 1, 2, 3, 2]]
    assert duplicate_groups([*cloths, cloth(4)], features) == [0, 1, 2, 3, 2]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(8)))
def test_groups_do_not_depend_on_the_order(places):
    pictures = [cloth(seed // 2) if seed % 2 else cloth(seed // 2).resize((80, 60)) for seed in range(8)]
    groups = duplicate_groups([pictures[place] for place in places])
    by_place = dict(zip(places, groups, strict=True))
    for one in range(8):
        assert [other for other in range(8) if by_place[other] == by_place[one]] == [one // 2 * 2, one // 2 * 2 + 1]


def test_the_real_motifs(data):
    """Copies between the two batik folders are found, and no chain swallows a class."""
    motifs, gan = (sorted(data(name).glob("batik-megamendung/*")) for name in ("batik-motifs", "batik-gan"))
    groups = duplicate_groups(motifs + gan)
    shared = set(groups[: len(motifs)]) & set(groups[len(motifs) :])
    assert len(shared) >= 10
    assert max(map(groups.count, set(groups))) <= 12
