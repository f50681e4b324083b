"""Network families. ``build`` makes one from its name and arguments, with plain (not spectrally normalised) weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan.nets.cgan import ConditionalDiscriminator, ConditionalGenerator, ProjectionDiscriminator
from gan.nets.classifiers import DigitJudge, MobileNetClassifier, PairClassifier, ScratchCNN
from gan.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from gan.nets.dense import DenseDiscriminator, DenseGenerator
from gan.nets.fastgan import FastGANDiscriminator, FastGANGenerator
from gan.nets.lsgan import LSGANDiscriminator, LSGANGenerator
from gan.nets.patch import PatchDiscriminator
from gan.nets.resnet import ResNetDiscriminator, ResNetGenerator

GENERATORS: dict[str, type[nn.Module]] = {
    "cgan": ConditionalGenerator,
    "dcgan": DCGANGenerator,
    "dense": DenseGenerator,
    "fastgan": FastGANGenerator,
    "lsgan": LSGANGenerator,
    "resnet": ResNetGenerator,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "cgan": ConditionalDiscriminator,
    "cgan-projection": ProjectionDiscriminator,
    "dcgan": DCGANDiscriminator,
    "dense": DenseDiscriminator,
    "fastgan": FastGANDiscriminator,
    "lsgan": LSGANDiscriminator,
    "patch": PatchDiscriminator,
    "resnet": ResNetDiscriminator,
}
CLASSIFIERS: dict[str, type[nn.Module]] = {
    "digit-judge": DigitJudge,
    "mobilenet-efficientnet": PairClassifier,
    "mobilenet-v2": MobileNetClassifier,
    "scratch-cnn": ScratchCNN,
}


def build(family: dict[str, type[nn.Module]], name: str, arguments: dict[str, Any]) -> nn.Module:
    """A new network. Raises ValueError for an unknown name or arguments that do not fit."""
    if name not in family:
        raise ValueError(f"There is no network called {name!r}; there are {', '.join(sorted(family))}.")
    try:
        return family[name](**arguments)
    except TypeError as error:
        raise ValueError(f"The network {name} does not take these arguments: {error}.") from error
