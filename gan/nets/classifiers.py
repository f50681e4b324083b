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


class OneLength(nn.Module):
    """Scales every row to the same Euclidean length."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        return self.length * nn.functional.normalize(x, dim=-1)


class PairClassifier(MobileNetClassifier):
    """MobileNetV2 and EfficientNet-Lite0 side by side, both frozen, under one linear layer. 5.6 M parameters.

    Their errors differ, so that together they tell more than either. The head standardises the 2,560 pooled features,
    brings every picture's to one length and is linear: with thirty pictures a class, more of it would learn them by
    heart.
    """

    embedding = 2560

    def __init__(self, classes: int = 3) -> None:
        super().__init__(classes)
        import timm

        self.second = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).requires_grad_(False)
        self.head = nn.Sequential(
            nn.BatchNorm1d(self.embedding, affine=False), OneLength(10.0), nn.Linear(self.embedding, classes)
        )
        nn.init.zeros_(self.head[2].weight)
        nn.init.zeros_(self.head[2].bias)
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

    def embed(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) normalised with ImageNet's mean and deviation -> (n, 2560), the frozen part."""
        return torch.cat([super().embed(x), self.second(x * self.gain + self.offset)], dim=1)


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
