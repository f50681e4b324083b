"""Network families. ``build`` makes one from its name and arguments, with plain (not spectrally normalised) weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan.nets.fastgan import FastGANDiscriminator, FastGANGenerator

GENERATORS: dict[str, type[nn.Module]] = {"fastgan": FastGANGenerator}
DISCRIMINATORS: dict[str, type[nn.Module]] = {"fastgan": FastGANDiscriminator}
CLASSIFIERS: dict[str, type[nn.Module]] = {}


def build(family: dict[str, type[nn.Module]], name: str, arguments: dict[str, Any]) -> nn.Module:
    """A new network. Raises ValueError for an unknown name or arguments that do not fit."""
    if name not in family:
        raise ValueError(f"There is no network called {name!r}; there are {', '.join(sorted(family))}.")
    try:
        return family[name](**arguments)
    except TypeError as error:
        raise ValueError(f"The network {name} does not take these arguments: {error}.") from error
