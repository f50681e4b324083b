"""Classifiers: R3's two networks, and a small one that reads digits.

Input: floats (n, channels, side, side), normalised as the checkpoint's ``input`` says. Output: logits (n, classes).
A network that is partly frozen splits its work: ``embed`` is the frozen part and ``head`` the trained one, so that
features can be computed once and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class ScratchCNN(nn.Module):
    """R3's own network: three convolutions with valid padding and pooling, then two dense layers, for 224² pictures.

    11,169,347 parameters for three classes, 99 % of them in the first dense layer.
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        for inside, outside in ((3, 32), (32, 64), (64, 128)):
            # ReLU and max-pooling commute; this order has a quarter of the work.
            layers += [nn.Conv2d(inside, outside, 3), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128 * 26 * 26, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )
        # Keras's initialisation, which the report trained with.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class MobileNetClassifier(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018) without its top, frozen, under R3's head.

    Global average pooling, dense 128 with ReLU, dropout 0.5, dense. For three classes 2,388,227 parameters, or
    2,422,339 counted with the batch norms' running statistics. The frozen part stays in evaluation mode, so that
    its statistics remain ImageNet's.
    """

    embedding = 1280
    # Which of its features tell batik from other pictures.
    telling = tuple(range(embedding))

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2

        self.classes = classes
        self.features = mobilenet_v2(weights=None).features.requires_grad_(False)
        self.head = nn.Sequential(
            nn.Linear(self.embedding, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )
        for module in self.head.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.train()

    def train(self, mode: bool = True) -> MobileNetClassifier:
        super().train(mode)
        self.features.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 1280), the frozen part."""
        return self.features(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


class Standardise(nn.Module):
    """Brings blocks of features to one footing: each feature to mean 0 and deviation 1, then each block to length 1.

    The statistics are no parameters; :meth:`fit` takes them from the training pictures.

    Args:
        widths: of the blocks that lie side by side in a row.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.ones(sum(widths)))

    def fit(self, rows: Tensor) -> None:
        """Take mean and deviation from rows (n, sum of the widths)."""
        self.mean.copy_(rows.mean(0))
        # A feature that hardly varies is noise: it must not be blown up.
        for mine, part in zip(self.scale.split(self.widths), rows.std(0).split(self.widths), strict=True):
            mine.copy_(part + 1e-3 * part.mean() + 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        blocks = ((x - self.mean) / self.scale).split(self.widths, dim=-1)
        return torch.cat([nn.functional.normalize(block, dim=-1) for block in blocks], dim=-1)


def statistics(maps: Tensor) -> Tensor:
    """(n, d, rows, columns) -> (n, 2d): each channel's mean and deviation over the places."""
    places = maps.flatten(2)
    # The root's slope at 0 is infinite, and a channel may well be silent everywhere.
    return torch.cat([places.mean(2), (places.var(2, correction=0) + 1e-8).sqrt()], dim=1)


class CovarianceRoot(nn.Module):
    """Which channels of a feature map go together: the square root of the covariance of ``size`` random mixtures of
    them over the places (Li et al., "Is Second-order Information Helpful for Large-scale Visual Recognition?", ICCV
    2017). The root keeps the few strong directions from drowning the others.

    Shapes: (n, channels, h, w) -> (n, size (size + 1) / 2), the upper triangle; what stands in the matrix twice counts
    for both. ``size`` is at most ``channels``.
    """

    def __init__(self, channels: int, size: int, seed: int) -> None:
        super().__init__()
        self.size = size
        square = torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed))
        # Kept with the weights: another linear algebra library may find other signs.
        self.register_buffer("mixtures", torch.linalg.qr(square)[0][:, :size].T.contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        mixed = torch.einsum("sc,nchw->nshw", self.mixtures, maps.float()).flatten(2)
        mixed = mixed - mixed.mean(2, keepdim=True)
        covariance = mixed @ mixed.transpose(1, 2) / mixed.shape[2]
        # Fewer places than mixtures, or silent channels, leave directions without any variance.
        least = 1e-4 * covariance.diagonal(dim1=1, dim2=2).mean(1)
        strengths, directions = torch.linalg.eigh(covariance + torch.diag_embed(least[:, None].expand(-1, self.size)))
        root = (directions * strengths.clamp_min(1e-8).sqrt()[:, None]) @ directions.transpose(1, 2)
        rows, columns = torch.triu_indices(self.size, self.size)
        return root[:, rows, columns] * torch.where(rows == columns, 1.0, 2**0.5).to(root)


def described(
    layers: Iterable[nn.Module], x: Tensor, stages: Sequence[int], roots: nn.ModuleDict
) -> tuple[Tensor, list[Tensor]]:
    """What a stack of layers makes of ``x``: its last output, pooled, with the :func:`statistics` of some stages, and
    the covariance roots of those that ``roots`` names."""
    found, second_order = {}, []
    for i, layer in enumerate(layers):
        x = layer(x)
        if i in stages:
            found[i] = statistics(x)
        if str(i) in roots:
            second_order.append(roots[str(i)](x))
    return torch.cat([x.mean((2, 3)), *(found[i] for i in stages)], dim=1), second_order


class PairClassifier(MobileNetClassifier):
    """MobileNetV2 and EfficientNet-Lite2 (Tan and Le 2019) side by side, both frozen, under one linear layer.

    Their errors differ, so that together they tell more than either. Batik is texture: beside each network's last
    feature map, pooled, stand the means and deviations of the channels of two earlier stages (as style is described by
    Huang and Belongie, ICCV 2017). The head standardises these ten blocks and is linear: with thirty pictures a class,
    more of it would learn them by heart. 7.1 M parameters for twenty classes.

    Args:
        classes: how many there are.
        covariances: size of the covariance roots (:class:`CovarianceRoot`) of eight stages, which stand after the ten
            blocks, 0 for none. 7.3 M parameters for twenty classes and a size of 48.
    """

    # Of either network: the last map pooled, then mean and deviation at a 32nd and at a 16th of the input's side.
    widths = (1280, 320, 320, 96, 96, 1280, 352, 352, 120, 120)
    # Channels of the stages whose covariances are taken: by the layer's number, in either network.
    related = ({10: 64, 13: 96, 17: 320}, {4: 48, 5: 88, 6: 120, 7: 208, 8: 352})
    # The means of the late stages say what is shown; deviations and the middle stages how, and so blur changes them.
    telling = (*range(sum(widths[:2])), *range(sum(widths[:5]), sum(widths[:7])))

    def __init__(self, classes: int = 3, covariances: int = 0) -> None:
        super().__init__(classes)
        import timm

        least = min(min(stages.values()) for stages in self.related)
        if not 0 <= covariances <= least:
            raise ValueError(f"The covariances' size lies between 0 and {least}, not at {covariances}.")
        self.roots = nn.ModuleList(
            nn.ModuleDict({str(i): CovarianceRoot(c, covariances, seed=100 * net + i) for i, c in stages.items()})
            for net, stages in enumerate(self.related if covariances else ({}, {}))
        )
        widths = self.widths + (covariances * (covariances + 1) // 2,) * sum(len(roots) for roots in self.roots)
        self.embedding = sum(widths)
        self.second = timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=0).requires_grad_(False)
        self.head = nn.Sequential(Standardise(widths), nn.Linear(self.embedding, classes))
        nn.init.zeros_(self.head[1].weight)
        nn.init.zeros_(self.head[1].bias)
        # From ImageNet's mean and deviation, which the first network expects, to [-1, 1], which the second does.
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("gain", (std / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("offset", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)
        self.train()

    def train(self, mode: bool = True) -> PairClassifier:
        super().train(mode)
        if hasattr(self, "second"):
            self.second.eval()
        return self

    def stages(self) -> list[nn.Module]:
        """Whose outputs the heat map reads: the last stage of either network before its final 1×1 convolution."""
        return [self.features[17], self.second.blocks[6]]

    def embed(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) normalised with ImageNet's mean and deviation -> (n, embedding), the frozen part."""
        net = self.second
        layers = [net.conv_stem, net.bn1, *net.blocks, net.conv_head, net.bn2]
        first, roots = described(self.features, x, (17, 13), self.roots[0])
        second, more = described(layers, x * self.gain + self.offset, (8, 6), self.roots[1])
        return torch.cat([first, second, *roots, *more], dim=1)


class DigitJudge(nn.Module):
    """Reads 28² grey digits: four convolutions with batch norm, two poolings, two dense layers. 0.5 M parameters.

    The first pooling comes at once, which makes it three times cheaper than one that keeps 28² for two convolutions.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        for inside, outside, pool in ((1, 16, True), (16, 32, False), (32, 64, True), (64, 64, False)):
            layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside)]
            layers += [nn.ReLU(inplace=True), *([nn.MaxPool2d(2)] if pool else [])]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def trained_parameters(net: nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that training changes."""
    return [p for p in net.parameters() if p.requires_grad]
