"""A checkpoint folder and the network in it.

    config.json          kind, network and its arguments, recipe, resolution, classes, licence
    model.safetensors    weights, half precision where quality holds, eight bits in very large tensors and in recipes
                         as written
    discriminator.safetensors  only where fine-tuning needs it
    rejection.safetensors      of classifiers that tell what is no batik
    metrics.json, README.md    what was measured, and the card that says it
    history.csv      curves of the training
    confusion.csv    a classifier's counts, true classes by row
    nearest.csv      how far a generator's pictures lie from training pictures, a histogram
    samples.png, timeline.png  of generators

Loading is strict: every key and shape must fit. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import CheckpointError
from gan.files import atomic
from gan.settings import VERSION

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS, DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"
REJECTION, CARD = "rejection.safetensors", "README.md"
# What a model consists of; nothing else in a folder is published, nothing else in a repository is fetched.
MODEL_FILES = (
    CONFIG,
    WEIGHTS,
    DISCRIMINATOR,
    REJECTION,
    "metrics.json",
    "history.csv",
    "confusion.csv",
    "nearest.csv",
    "samples.png",
    "timeline.png",
    CARD,
)
# What arguments that no network has end in, sizes below zero or above all memory among them.
UNBUILT = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, MemoryError)
REQUIRED_KEYS = ("kind", "network", "arguments")
# What is stored as integers of eight bits has a scale for each row beside it: tensors with more weights than this, and
# of recipes as written and of what only training begins with any weights of more than a few.
LARGEST_IN_HALF, FEW, SCALE = 1 << 21, 1 << 12, ".scale"


def read_config(folder: Path | str) -> dict[str, Any]:
    """The contents of ``config.json``. Raises CheckpointError when it is absent, unreadable or incomplete."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError("error.checkpoint.missing_file", folder=Path(folder).name, file=CONFIG)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError("error.checkpoint.config", folder=Path(folder).name, detail=error) from error
    absent = [key for key in REQUIRED_KEYS if not isinstance(config, dict) or key not in config]
    if absent:
        raise CheckpointError("error.checkpoint.config", folder=Path(folder).name, detail=f"no {', '.join(absent)}")
    return config


def without_folders(value: Any) -> Any:
    """A value of a config as others may see it: of a path on this machine only the last name stays."""
    path = isinstance(value, str) and (Path(value).is_absolute() or value.startswith((".", "~")))
    return Path(value).name if path else value


def build_network(config: dict[str, Any]) -> nn.Module:
    """The network that ``config`` describes, untrained. Raises CheckpointError where there is no such network."""
    from gan import nets

    family = nets.GENERATORS if config["kind"] == "generator" else nets.CLASSIFIERS
    try:
        return nets.build(family, config["network"], config["arguments"])
    except UNBUILT as error:
        raise CheckpointError("error.checkpoint.network", detail=error) from error


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Fill ``network`` from a safetensors file, in place, in the network's own precision.

    Raises:
        CheckpointError: naming the first key that is missing, unknown or of another shape, or saying that the file
            is absent or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError("error.checkpoint.missing_file", folder=path.parent.name, file=path.name)
    try:
        stored = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError("error.checkpoint.format", folder=path.parent.name, file=path.name) from error
    for key in [key for key in stored if is_scale(key, stored)]:
        rows, scale = stored[key.removesuffix(SCALE)], stored.pop(key)
        stored[key.removesuffix(SCALE)] = (rows.flatten(1) * scale).view(rows.shape)
    wanted = network.state_dict()
    for key, tensor in wanted.items():
        if key not in stored:
            raise CheckpointError("error.checkpoint.missing_key", folder=path.parent.name, key=key)
        if stored[key].shape != tensor.shape:
            raise CheckpointError(
                "error.checkpoint.shape",
                folder=path.parent.name,
                key=key,
                found=list(stored[key].shape),
                wanted=list(tensor.shape),
            )
    for key in stored:
        if key not in wanted:
            raise CheckpointError("error.checkpoint.unknown_key", folder=path.parent.name, key=key)
    network.load_state_dict(stored)
    return network


def is_scale(key: str, stored: dict[str, Tensor]) -> bool:
    """Whether the tensor called ``key`` is the scale, a number a row, of integers stored beside it."""
    import torch

    rows = stored.get(key.removesuffix(SCALE)) if key.endswith(SCALE) else None
    return rows is not None and rows.dtype == torch.int8 and rows.dim() > 1 and stored[key].shape == (len(rows), 1)


def load_folder(folder: Path | str) -> tuple[dict[str, Any], nn.Module]:
    """The config and the network with its weights, in evaluation mode, float32, on the CPU."""
    folder = Path(folder)
    config = read_config(folder)
    return config, load_weights(build_network(config), folder / WEIGHTS).eval()


def save_weights(path: Path, weights: dict[str, Tensor], half: bool = True, coarse: bool = False) -> None:
    """Store tensors as safetensors, unless told otherwise floating-point ones in half precision and very large ones
    in eight bits: each weight is then off by at most 1/254 of its row's largest (a row of a convolution is what makes
    one channel). ``coarse`` keeps eight bits of all but the smallest.
    """
    import torch
    from safetensors.torch import save_file

    ready = {}
    for key, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        if not half or not tensor.is_floating_point():
            ready[key] = tensor
        elif tensor.dim() > 1 and tensor.numel() > (FEW if coarse else LARGEST_IN_HALF):
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
            ready |= {key: (rows / scale).round().to(torch.int8).view(tensor.shape), key + SCALE: scale}
        else:
            ready[key] = tensor.to(torch.float16)
    with atomic(path) as temporary:
        save_file(ready, temporary)


def save(
    folder: Path | str, weights: dict[str, Tensor], config: dict[str, Any], half: bool = True, coarse: bool = False
) -> Path:
    """Write ``config.json`` and ``model.safetensors`` of a checkpoint folder, made if needed; returns the folder.

    ``config`` holds kind, network, arguments, recipe, title and whatever else the card shows; ``half`` and ``coarse``
    are as in :func:`save_weights`. The weights are checked against the network first, so that what was saved can be
    loaded.
    """
    folder = Path(folder)
    config = {"canting": VERSION, **config}
    build_network(config).load_state_dict(weights)
    save_weights(folder / WEIGHTS, weights, half, coarse)
    write_config(folder, config)
    return folder


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a checkpoint folder's ``config.json``."""
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
