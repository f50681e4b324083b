"""Adversarial losses. Each takes lists of logit maps (one a scale or branch) and averages over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A pair of losses on single logit maps: the discriminator's from (real, fake), the generator's from fake.

    For the names in ``SMOOTHED`` the discriminator's takes ``smoothing`` too.
    """

    discriminator: Callable[..., Tensor]
    generator: Callable[[Tensor], Tensor]


def bce_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """−log D(x) − log(1 − D(G(z))): Goodfellow et al. 2014, equation 1, the sigmoid folded into the loss.

    The reals' target is 1 − ``smoothing``: one-sided label smoothing, Salimans et al. 2016, section 3.4.
    """
    return F.softplus(-real).mean() + smoothing * real.mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """−log D(G(z)), the non-saturating form of Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake).mean()


def lsgan_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """(D(x) − 1)² + D(G(z))²: Mao et al. 2017, equation 2 with a = 0, b = 1 − ``smoothing``, without the ½ (R2)."""
    return (real - (1 - smoothing)).square().mean() + fake.square().mean()


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


def wgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) − D(x): Arjovsky et al. 2017, equation 2, the negative of the distance that the critic estimates."""
    return fake.mean() - real.mean()


LOSSES = {
    "bce": Loss(bce_discriminator, bce_generator),
    "lsgan": Loss(lsgan_discriminator, lsgan_generator),
    "hinge": Loss(hinge_discriminator, hinge_generator),
    "soft-hinge": Loss(soft_hinge_discriminator, hinge_generator),
    "wgan": Loss(wgan_discriminator, hinge_generator),
}
# Losses with a target for the reals that can be smoothed.
SMOOTHED = ("bce", "lsgan")


def discriminator_loss(loss: Loss, real: list[Tensor], fake: list[Tensor], smoothing: float = 0.0) -> Tensor:
    """The mean of ``loss.discriminator`` over pairs of logit maps."""
    more = {"smoothing": smoothing} if smoothing else {}
    return torch.stack([loss.discriminator(r, f, **more) for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(loss: Loss, fake: list[Tensor]) -> Tensor:
    """The mean of ``loss.generator`` over logit maps."""
    return torch.stack([loss.generator(f) for f in fake]).mean()


def gradient_penalty(judge: Callable[[Tensor], list[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
    """(‖∇D(x̂)‖ − 1)² at random points between reals and fakes: Gulrajani et al. 2017, equation 3, without its λ.

    Args:
        judge: pictures (n, c, h, w) to logit maps; maps are averaged over positions and each other.
        real, fake: as the discriminator sees them. Second derivatives in half precision lose the penalty in rounding:
            give float32, outside autocast.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake, real, share).requires_grad_()
    logits = torch.stack([logit.flatten(1).mean(1) for logit in judge(between)]).mean(0)
    (slope,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    # The root of nothing has no derivative.
    lengths = (slope.square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (lengths - 1).square().mean()
