"""Adversarial losses. Each takes lists of logit maps (one a scale or branch) and averages over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A pair of losses on single logit maps: the discriminator's from (real, fake), the generator's from fake."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−log D(x) − log(1 − D(G(z))): Goodfellow et al. 2014, equation 1, the sigmoid folded into the loss."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """−log D(G(z)), the non-saturating form of Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake).mean()


def lsgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(D(x) − 1)² + D(G(z))²: Mao et al. 2017, equation 2 with a = 0, b = 1, without the ½ (report R2)."""
    return (real - 1).square().mean() + fake.square().mean()


def lsgan_generator(fake: Tensor) -> Tensor:
    """(D(G(z)) − 1)²: Mao et al. 2017, equation 2 with c = 1, without the ½ (report R2)."""
    return (fake - 1).square().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 − D(x)) + max(0, 1 + D(G(z))): Lim & Ye 2017, equation 9."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def soft_hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The hinge with every margin drawn from U(0.8, 1), as FastGAN trains."""
    margin_real = torch.empty_like(real).uniform_(0.8, 1)
    margin_fake = torch.empty_like(fake).uniform_(0.8, 1)
    return F.relu(margin_real - real).mean() + F.relu(margin_fake + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """−D(G(z)): Lim & Ye 2017, equation 10."""
    return -fake.mean()


LOSSES = {
    "bce": Loss(bce_discriminator, bce_generator),
    "lsgan": Loss(lsgan_discriminator, lsgan_generator),
    "hinge": Loss(hinge_discriminator, hinge_generator),
    "soft-hinge": Loss(soft_hinge_discriminator, hinge_generator),
}


def discriminator_loss(loss: Loss, real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """The mean of ``loss.discriminator`` over pairs of logit maps."""
    return torch.stack([loss.discriminator(r, f) for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(loss: Loss, fake: list[Tensor]) -> Tensor:
    """The mean of ``loss.generator`` over logit maps."""
    return torch.stack([loss.generator(f) for f in fake]).mean()
