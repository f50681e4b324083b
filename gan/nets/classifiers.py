"""Classifiers: R3's two networks, and a small one that reads digits.

Input: floats (n, channels, side, side), normalised as the checkpoint's ``input`` says. Output: logits (n, classes).
A network that is partly frozen splits its work: ``embed`` is the frozen part and ``head`` the trained one, so that
features can be computed once and kept.
"""

from __future__ import annotations

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


def count_with_statistics(net: nn.Module) -> int:
    """Parameters as Keras counts them: the batch norms' running means and variances included."""
    statistics = (m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    return sum(p.numel() for p in net.parameters()) + sum(2 * m.num_features for m in statistics)


def trained_parameters(net: nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that training changes."""
    return [p for p in net.parameters() if p.requires_grad]
