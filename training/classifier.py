"""The one loop that trains every classifier.

As in :mod:`training.loop`, all randomness of a step (batch, augmentation, dropout) comes from seeds made of the
recipe's seed, the step and the process's rank, so that a resumed run goes on exactly.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan import catalog, nets
from gan.checkpoint import UNBUILT, load_folder
from gan.classify import normalised, to_input
from gan.errors import DataError, RunError
from gan.files import atomic
from gan.nets.classifiers import trained_parameters
from gan.settings import cache_folder
from training.augment import augmented
from training.checks import check_classifier
from training.data.pictures import PictureSet, mix, order
from training.data.sources import open_source
from training.loop import Stopped, precision
from training.recipes import ClassifierRecipe
from training.runs import Run
from training.start import processes
from training.weights import efficientnet_features, mobilenet_features

# Few pictures at a time keep a layer's activations in a CPU's caches: 8 take 41 ms each where 32 take 70.
CHUNK = 8
LOG_EVERY = 50
# The number of the pass over the pictures as they are.
CLEAN = -1
# The recipe's fields that decide what the frozen part sees and says.
BANKED = ("network", "network_args", "start", "resolution", "channels", "mean", "std", "rotation", "shift", "shear")
BANKED += ("zoom", "flip", "views", "close", "seed", "precision")


@dataclass(frozen=True)
class Predictions:
    """What a classifier made of some pictures. Row i of both tensors belongs to picture ``indices[i]``.

    Attributes:
        indices: positions in the data set.
        labels: the true class numbers, (n,).
        logits: (n, views, classes).
    """

    indices: list[int]
    labels: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(n, classes), the mean over the views, rows summing to 1."""
        return self.logits.softmax(2).mean(1)

    @property
    def accuracy(self) -> float:
        return (self.probabilities.argmax(1) == self.labels).double().mean().item()

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        return F.nll_loss(self.probabilities.clamp_min(1e-12).log(), self.labels).item()


def squares(data: PictureSet, recipe: ClassifierRecipe) -> PictureSet:
    """The same set with every picture as the network takes it: one uint8 tensor (n, views, channels, size, size)."""
    size, channels, close = recipe.resolution, recipe.channels, recipe.close
    views = max(recipe.views, recipe.train_views)
    if isinstance(data.pictures, Tensor) and views == 1 and data.pictures.shape[1:] == (channels, size, size):
        return replace(data, pictures=data.pictures[:, None])
    images = (Image.fromarray(p[0].numpy() if len(p) == 1 else p.permute(1, 2, 0).numpy()) for p in data.pictures)
    return replace(data, pictures=torch.stack([to_input(image, size, channels, views, close) for image in images]))


def open_for(recipe: ClassifierRecipe, source: str | None = None) -> PictureSet:
    """The recipe's pictures, or those of another ``source``, as its network takes them.

    Raises:
        DataError: for pictures that cannot be had, or have no classes.
    """
    data = opened(recipe, source or recipe.source)
    if data.labels is None:
        raise DataError("error.classes.none")
    return squares(data, recipe)


def opened(recipe: ClassifierRecipe, source: str) -> PictureSet:
    """The pictures of a source, no larger than the recipe's views have a use for."""
    return open_source(source, recipe.opened or recipe.resolution, recipe.channels)


def frozen_part(recipe: ClassifierRecipe) -> dict[str, Tensor]:
    """The weights of the checkpoint that the recipe starts from, less its head, which knows other classes.

    Raises:
        CheckpointError: when it is not there or does not load.
        RunError: when it is of another network.
    """
    config, network = load_folder(catalog.find(recipe.start))
    if config["network"] != recipe.network:
        first, second = f"start ({recipe.start}, {config['network']})", f"network ({recipe.network})"
        raise RunError("error.run.fields", first=first, second=second)
    return {key: value for key, value in network.state_dict().items() if not key.startswith("head.")}


class ClassifierTrainer:
    """Network, optimizer and data of one run.

    Args:
        recipe: what to train and how.
        run: where it is kept. Its ``run.json`` may name the positions of the pictures to train on (``chosen``) and to
            validate on (``held``); without them all are trained on. ``features`` is a folder to keep the frozen part's
            features in, without it the cache folder: what a visitor hands in leaves nothing there.
        data: the pictures as :func:`open_for` gives them; opened when absent.

    Raises:
        CheckpointError: when the recipe starts from a checkpoint that is not there or does not load.
        RunError: when that is of another network, or the recipe's parts do not fit.
    """

    def __init__(self, recipe: ClassifierRecipe, run: Run, data: PictureSet | None = None) -> None:
        check_classifier(recipe)
        self.recipe, self.run = recipe, run
        facts = run.read()
        self.data = data or open_for(recipe)
        self.chosen: list[int] = facts.get("chosen", list(range(len(self.data))))
        self.held: list[int] = facts.get("held") or []
        # Not Accelerator().device: the first Accelerator of a process fixes its precision.
        mixed = precision(recipe.precision, processes().device)
        self.accelerator = Accelerator(mixed_precision=mixed)
        self.device = self.accelerator.device
        torch.manual_seed(recipe.seed)
        arguments = {**recipe.network_args, "classes": len(self.data.classes)}
        try:
            self.network = nets.build(nets.CLASSIFIERS, recipe.network, arguments)
        except UNBUILT as error:
            raise RunError("error.run.network", detail=error) from error
        if recipe.passes and not hasattr(self.network, "embed"):
            first, second = f"passes ({recipe.passes})", f"network ({recipe.network}), which has no frozen part"
            raise RunError("error.run.fields", first=first, second=second)
        if recipe.start == "imagenet":
            self.network.features.load_state_dict(mobilenet_features())
            if hasattr(self.network, "second"):
                self.network.second.load_state_dict(efficientnet_features())
        elif recipe.start:
            self.network.load_state_dict({**self.network.state_dict(), **frozen_part(recipe)})
        self.network.to(self.device, memory_format=torch.channels_last)
        self.features = Path(facts.get("features") or cache_folder() / "features")
        self.bank = FeatureBank(self) if recipe.passes else None
        self.optimizer = self.build_optimizer()
        self.step = 0
        self.seconds = 0.0
        # Since the last line of metrics: sum of losses, right answers, pictures.
        self.tally = [0.0, 0, 0]

    def build_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(trained_parameters(self.network), self.recipe.rate)

    @property
    def learning(self) -> nn.Module:
        """The part whose mode matters. Beside kept features that is the head: at every step to go through all the
        layers of what is frozen takes time for nothing."""
        return self.network.head if self.bank else self.network

    @property
    def pictures_per_step(self) -> int:
        """Pictures that one step sees, over all processes."""
        return self.recipe.batch * self.accelerator.num_processes

    # One step ---------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, float]:
        """One update. Returns the batch's loss and accuracy."""
        recipe, rank = self.recipe, self.accelerator.process_index
        torch.manual_seed(mix(recipe.seed, self.step, rank, 2))
        self.learning.train()
        first = self.step * self.pictures_per_step + rank * recipe.batch
        drawn = order(len(self.chosen), recipe.batch, first, recipe.seed)
        indices = [self.chosen[i] for i in drawn]
        epochs = [(first + i) // len(self.chosen) for i in range(recipe.batch)]
        labels = self.data.labels[indices].to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.zero_grad()
        with self.accelerator.autocast():
            logits = self.logits(indices, epochs)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.smoothing)
        loss.backward()
        if self.accelerator.num_processes > 1:
            for parameter in trained_parameters(self.network):
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        self.optimizer.step()
        self.step += 1
        if not math.isfinite(loss.item()):
            raise RunError("error.run.not_finite", step=self.step)
        right = (logits.argmax(1) == labels).sum().item()
        self.tally = [self.tally[0] + loss.item() * len(labels), self.tally[1] + right, self.tally[2] + len(labels)]
        return {"loss": loss.item(), "accuracy": right / len(labels)}

    def rate(self) -> float:
        """The learning rate of the step to come."""
        share = self.step / self.recipe.steps
        return self.recipe.rate * (0.5 * (1 + math.cos(math.pi * share)) if self.recipe.cosine else 1)

    def logits(self, indices: Sequence[int], epochs: Sequence[int]) -> Tensor:
        """Of the named pictures, each in one view and augmented as it is in its epoch."""
        if self.bank:
            passes = [epoch % self.recipe.passes for epoch in epochs]
            return self.network.head(self.bank.rows(indices, passes).to(self.device))
        seeds = [mix(self.recipe.seed, epoch, i, 1) for i, epoch in zip(indices, epochs, strict=True)]
        views = [epoch % self.recipe.views for epoch in epochs]
        return self.network(self.ready(augmented(self.data.pictures[list(indices), views], self.recipe, seeds)))

    def ready(self, pictures: Tensor) -> Tensor:
        """uint8 pictures as the network's normalised input, on its device."""
        x = normalised(pictures.to(self.device), self.recipe.mean, self.recipe.std)
        return x.contiguous(memory_format=torch.channels_last)

    # Looking ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, indices: Sequence[int], data: PictureSet | None = None) -> Predictions:
        """Predictions for the named pictures of ``data`` (by default the training set), unaugmented, views averaged.

        Labels are read in the same pass and from the same batch of positions as the pictures.
        """
        self.learning.eval()
        own = data is None
        data = data or self.data
        if self.bank:
            features = self.bank[CLEAN] if own else self.bank.of(data)
        labels, found = [], []
        for start in range(0, len(indices), CHUNK):
            part = list(indices[start : start + CHUNK])
            with self.accelerator.autocast():
                if self.bank:
                    logits = self.network.head(features[part, : self.recipe.views].flatten(0, 1).to(self.device))
                else:
                    logits = self.network(self.ready(data.pictures[part].flatten(0, 1)))
            found.append(logits.float().cpu().unflatten(0, (len(part), -1)))
            labels.append(data.labels[part] if data.labels is not None else torch.full((len(part),), -1))
        return Predictions(list(indices), torch.cat(labels), torch.cat(found))

    # The whole run ----------------------------------------------------------------------------------------------

    def train(self, on_step: Callable[[ClassifierTrainer, dict[str, float]], None] | None = None) -> None:
        """Go on to the recipe's last step, saving on its schedule. ``on_step`` may raise Stopped."""
        recipe = self.recipe
        self.restore()
        begun = time.monotonic() - self.seconds
        while self.step < recipe.steps:
            values = self.train_step()
            self.seconds = time.monotonic() - begun
            if self.accelerator.is_main_process:
                self.note()
                if self.step % recipe.save_every == 0 or self.step == recipe.steps:
                    self.save()
            if on_step:
                try:
                    on_step(self, values)
                except Stopped:
                    if self.accelerator.is_main_process:
                        self.save()
                    return

    def note(self) -> None:
        """Write a line of metrics at the end of an epoch, of :data:`LOG_EVERY` steps, and of the run."""
        seen = self.step * self.pictures_per_step
        epoch_ends = seen // len(self.chosen) > (seen - self.pictures_per_step) // len(self.chosen)
        last = self.step == self.recipe.steps
        if not (epoch_ends or last or self.step % LOG_EVERY == 0):
            return
        lost, right, count = self.tally
        self.tally = [0.0, 0, 0]
        figures = {"loss": round(lost / count, 5), "accuracy": round(right / count, 5)}
        if self.held and (epoch_ends or last):
            found = self.predict(self.held)
            figures |= {"held_loss": round(found.loss, 5), "held_accuracy": round(found.accuracy, 5)}
        self.run.add_metrics(step=self.step, seconds=round(self.seconds, 1), images=seen, **figures)

    def save(self) -> None:
        """Write the training state."""
        self.run.save_state(
            {
                "step": self.step,
                "seconds": self.seconds,
                "tally": self.tally,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        )

    def restore(self) -> None:
        """Take up the run's saved state, if there is one.

        Raises:
            RunError: for the state of another network than the recipe builds now.
        """
        state = self.run.load_state()
        if state is None:
            self.run.forget_after(0)
            return
        with self.run.of_the_same_networks():
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.tally = state["step"], state["seconds"], state["tally"]
        self.run.forget_after(self.step)


class FeatureBank:
    """What the frozen part of a network makes of every picture, for a number of augmented passes.

    A pass is computed when first asked for, whole and in batches of fixed make-up, and kept in the trainer's folder of
    features: the folds of a cross-validation share it, and a resumed run reads the very same numbers.
    """

    def __init__(self, trainer: ClassifierTrainer) -> None:
        self.trainer = trainer
        recipe = asdict(trainer.recipe)
        text = json.dumps({key: recipe[key] for key in BANKED}, sort_keys=True) + trainer.device.type
        self.text = text
        self.key = self.key_of(trainer.data)
        self.passes: dict[int, Tensor] = {}

    def rows(self, indices: Sequence[int], passes: Sequence[int]) -> Tensor:
        """Features (n, size) of picture ``indices[i]`` as it is in the augmented pass ``passes[i]``."""
        return torch.stack([self[number][index] for index, number in zip(indices, passes, strict=True)])

    def __getitem__(self, number: int) -> Tensor:
        if number not in self.passes:
            self.passes[number] = self.kept(self.trainer.data, number)
        return self.passes[number]

    def of(self, data: PictureSet) -> Tensor:
        """Features (n, views, size) of pictures that are not the trainer's own, as they are."""
        return self.kept(data, CLEAN)

    def key_of(self, data: PictureSet) -> str:
        pixels = hashlib.sha256(data.pictures.contiguous().numpy().tobytes())
        return hashlib.sha256(self.text.encode() + pixels.digest()).hexdigest()[:20]

    def kept(self, data: PictureSet, number: int) -> Tensor:
        """One pass over ``data``, from the folder of features or computed and put there."""
        key = self.key if data is self.trainer.data else self.key_of(data)
        file = self.trainer.features / f"{key}-{number}.safetensors"
        if not file.exists():
            computed = self.compute(data, number)
            with atomic(file) as path:
                save_file({"features": computed}, path)
        return load_file(file)["features"]

    @torch.no_grad()
    def compute(self, data: PictureSet, number: int) -> Tensor:
        """All pictures' features in one pass, float32 on the CPU: (n, size) of one view, as CLEAN (n, views, size).

        The frozen part is always in evaluation mode; switching the whole network would cost the step under way its
        dropout.
        """
        trainer = self.trainer
        frozen = fused(copy.deepcopy(trainer.network))
        found = []
        for start in range(0, len(data), CHUNK):
            pictures = data.pictures[start : start + CHUNK]
            count, views = pictures.shape[:2]
            if number != CLEAN:
                seeds = [mix(trainer.recipe.seed, number, start + i, 1) for i in range(count)]
                pictures = augmented(pictures[:, number % views], trainer.recipe, seeds)
            with trainer.accelerator.autocast():
                parts = pictures.flatten(0, -4).split(CHUNK)
                features = torch.cat([frozen.embed(trainer.ready(part)).float().cpu() for part in parts])
            found.append(features.unflatten(0, (count, views)) if number == CLEAN else features)
        return torch.cat(found)


def fused(net: nn.Module) -> nn.Module:
    """Fold each batch norm in evaluation mode into the convolution before it: the same outputs, sooner. In place."""
    for module in list(net.modules()):
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not norm.training:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                # timm's batch norms carry the activation after them.
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))
    return net
