"""The trainer of a linear layer on frozen features: all pictures at once, by L-BFGS (Liu and Nocedal 1989).

The loss is convex: there is one answer, no learning rate to choose, and a few dozen iterations come close to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.errors import RunError
from gan.nets.classifiers import Standardise, trained_parameters
from training.classifier import CLEAN, ClassifierTrainer
from training.data.pictures import PictureSet
from training.recipes import ClassifierRecipe
from training.runs import Run


class LinearTrainer(ClassifierTrainer):
    """As :class:`ClassifierTrainer`, for a network whose ``head`` standardises and is linear. One step, one iteration.

    Every view of every picture is a row, unaugmented.

    Raises:
        RunError: for a network with another head, or a recipe that keeps no features.
    """

    def __init__(self, recipe: ClassifierRecipe, run: Run, data: PictureSet | None = None) -> None:
        super().__init__(recipe, run, data)
        second = "" if self.bank else f"passes ({recipe.passes})"
        if not isinstance(self.network.head[0], Standardise):
            second = f"network ({recipe.network}), whose head is not linear"
        if second:
            raise RunError("error.run.fields", first=f"solver ({recipe.solver})", second=second)
        kept = self.bank[CLEAN][self.chosen]
        standardise, self.linear = self.network.head
        standardise.fit(kept.flatten(0, 1).to(self.device))
        with torch.no_grad():
            self.rows = standardise(kept.flatten(0, 1).to(self.device))
        labels = self.data.labels[self.chosen]
        self.targets = labels.repeat_interleave(kept.shape[1]).to(self.device)

    def build_optimizer(self) -> torch.optim.Optimizer:
        # One iteration a step: its memory of the curvature is part of the saved state.
        parameters = trained_parameters(self.network)
        return torch.optim.LBFGS(parameters, max_iter=1, history_size=10, line_search_fn="strong_wolfe")

    def train(self, on_step: Callable[[ClassifierTrainer, dict[str, float]], None] | None = None) -> None:
        super().train(on_step)
        # A cross-validation keeps the trainer of every fold: gigabytes of rows, which nobody needs any more.
        self.rows = self.rows[:0].clone()

    @property
    def pictures_per_step(self) -> int:
        return len(self.chosen)

    def train_step(self) -> dict[str, float]:
        """One iteration. Returns loss (label smoothing and weight decay included) and accuracy before it."""
        smoothing, decay = self.recipe.smoothing, self.recipe.decay
        seen: list[Tensor] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            logits = self.linear(self.rows)
            loss = F.cross_entropy(logits, self.targets, label_smoothing=smoothing)
            loss = loss + decay / 2 * self.linear.weight.square().sum()
            loss.backward()
            seen.append((logits.detach().argmax(1) == self.targets).double().mean())
            return loss

        loss = self.optimizer.step(closure).item()
        self.step += 1
        if not math.isfinite(loss):
            raise RunError("error.run.not_finite", step=self.step)
        right, count = seen[0].item(), len(self.chosen)
        self.tally = [loss * count, right * count, count]
        return {"loss": loss, "accuracy": right}
