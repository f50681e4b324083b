"""What is refused before the first step: recipes whose parts do not fit each other or the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan.classify import input_of
from gan.errors import CheckpointError, RunError
from training.data.pictures import PictureSet
from training.diffaug import POLICIES
from training.losses import LOSSES, SMOOTHED
from training.recipes import ClassifierRecipe, GanRecipe

PRECISIONS = ("auto", "float32", "bfloat16")
SOLVERS = ("adam", "lbfgs")
COUNTS = ("batch", "steps", "save_every")


def check_values(recipe: GanRecipe) -> None:
    """Refuse names and numbers that stand for nothing. Raises RunError naming the field, its value and the choices."""
    check_choices(("loss", recipe.loss, LOSSES), ("precision", recipe.precision, PRECISIONS))
    check_choices(("spectral", recipe.spectral, ("", "d", "g", "gd")))
    check_choices(*(("augment", policy, POLICIES) for policy in recipe.augment))
    check_least(recipe, 1, *COUNTS, "accumulate", "d_steps", "snapshot_every")
    check_least(recipe, 0, "rate_g", "rate_d", "low_steps", "lowest_steps", "score_every", "gradient_penalty", "freeze")
    check_shares(recipe, "cooldown", "ema")
    check_pair(recipe, "betas", lambda first, second: 0 <= first < 1 and 0 <= second < 1)
    if recipe.crop is not None:
        check_pair(recipe, "crop", lambda least, most: 0 < least <= most <= 1)
    if not recipe.discriminators:
        raise RunError("error.run.value", key="discriminators", value={}, kind="network or two")


def check_classifier(recipe: ClassifierRecipe) -> None:
    """As :func:`check_values`."""
    check_choices(("precision", recipe.precision, PRECISIONS), ("solver", recipe.solver, SOLVERS))
    check_least(recipe, 1, *COUNTS)
    check_least(recipe, 2, "folds")
    check_least(recipe, 0, "passes", "rate", "decay", "train_views")
    check_shares(recipe, "smoothing")
    try:
        input_of(recipe.name, {"input": shown_to(recipe)})
    except CheckpointError as error:
        raise RunError("error.run.input", **shown_to(recipe)) from error


def shown_to(recipe: ClassifierRecipe) -> dict[str, Any]:
    """What the recipe's network is shown, as its checkpoint's config says it."""
    return {
        "size": recipe.resolution,
        "channels": recipe.channels,
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "views": recipe.views,
        "close": recipe.close,
    }


def check_choices(*choices: tuple[str, Any, Collection[str]]) -> None:
    for key, value, known in choices:
        # Not everything that can be written has a hash.
        if value not in list(known):
            raise RunError("error.run.choice", key=key, value=value, known=", ".join(filter(None, known)))


def check_least(recipe: Any, least: int, *keys: str) -> None:
    for key in keys:
        if not getattr(recipe, key) >= least:
            raise RunError("error.run.least", key=key, value=getattr(recipe, key), least=least)


def check_shares(recipe: Any, *keys: str) -> None:
    for key in keys:
        if not 0 <= getattr(recipe, key) <= 1:
            raise RunError("error.run.share", key=key, value=getattr(recipe, key))


def check_pair(recipe: Any, key: str, fine: Callable[[float, float], bool]) -> None:
    pair = getattr(recipe, key)
    numbers = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(one, int | float) for one in pair)
    if not numbers or not fine(*pair):
        raise RunError("error.run.value", key=key, value=pair, kind="pair of shares")


# Discriminators that judge pictures of any side.
ANY_SIDE = {"projected", "patch"}


def check_fit(recipe: GanRecipe, generator: nn.Module, discriminators: nn.ModuleDict, data: PictureSet) -> None:
    """Refuse the first two parts that do not fit. Raises RunError naming the two fields with what they say."""
    for first, second in misfits(recipe, generator, discriminators, data):
        raise RunError("error.run.fields", first=first, second=second)


def misfits(
    recipe: GanRecipe, generator: nn.Module, discriminators: nn.ModuleDict, data: PictureSet
) -> Iterator[tuple[str, str]]:
    """Pairs of fields that do not fit, each with its value in brackets."""
    for field, side in (("low_steps", 128), ("lowest_steps", 64)):
        outputs = generator.outputs() if hasattr(generator, "outputs") else {}
        small = side in outputs and side < recipe.resolution
        if getattr(recipe, field) and (not small or not set(discriminators) <= ANY_SIDE):
            yield f"{field} ({getattr(recipe, field)})", "resolution, network_args, discriminators"
    if recipe.lowest_steps > recipe.low_steps:
        yield f"lowest_steps ({recipe.lowest_steps})", f"low_steps ({recipe.low_steps})"
    network = f"network ({recipe.network}, {generator.resolution}² × {generator.channels})"
    if generator.resolution != recipe.resolution:
        yield network, f"resolution ({recipe.resolution})"
    if generator.channels != recipe.channels:
        yield network, f"channels ({recipe.channels})"
    # Stacked sets keep their own size; folders of pictures are read at the recipe's.
    if isinstance(data.pictures, Tensor) and data.pictures.shape[-1] != recipe.resolution:
        yield f"source ({recipe.source}, {data.pictures.shape[-1]}²)", f"resolution ({recipe.resolution})"
    if data.pictures[0].shape[0] != recipe.channels:
        yield f"source ({recipe.source}, {data.pictures[0].shape[0]} channels)", f"channels ({recipe.channels})"
    if generator.classes and generator.classes != len(data.classes):
        yield f"network ({recipe.network}, {generator.classes} labels)", f"source ({recipe.source}, {labels_of(data)})"
    for name, net in discriminators.items():
        judge = f"discriminators ({name})"
        if getattr(net, "resolution", recipe.resolution) != recipe.resolution:
            yield f"discriminators ({name}, {net.resolution}²)", f"resolution ({recipe.resolution})"
        if getattr(net, "channels", recipe.channels) != recipe.channels:
            yield f"discriminators ({name}, {net.channels} channels)", f"channels ({recipe.channels})"
        count = getattr(net, "label_count", 0)
        if count and count != generator.classes:
            yield (
                f"discriminators ({name}, {count} labels)",
                f"network ({recipe.network}, {generator.classes or 'no'} labels)",
            )
        if recipe.freeze and not hasattr(net, "ways"):
            yield f"freeze ({recipe.freeze})", judge
        # The penalty is on each picture's own gradient, which batch norm mixes; frozen features have none to give.
        mixes = any(isinstance(module, _BatchNorm) for module in net.modules())
        if recipe.gradient_penalty and (mixes or hasattr(net, "project")):
            yield f"gradient_penalty ({recipe.gradient_penalty})", judge + (" with batch norm" if mixes else "")
    if recipe.loss == "wgan" and not recipe.gradient_penalty and "d" not in recipe.spectral:
        yield "loss (wgan)", f"gradient_penalty ({recipe.gradient_penalty})"
    if recipe.discrepancy and generator.channels != 3:
        yield f"discrepancy ({recipe.discrepancy})", network
    for field in ("coverage", "transport"):
        if getattr(recipe, field) and not recipe.discrepancy:
            yield f"{field} ({getattr(recipe, field)})", f"discrepancy ({recipe.discrepancy})"
    for field in ("discrepancy", "coverage"):
        if getattr(recipe, field) and recipe.batch < 2:
            yield f"{field} ({getattr(recipe, field)})", f"batch ({recipe.batch})"
    for field in ("accumulate", "d_steps"):
        if recipe.coverage and getattr(recipe, field) > 1:
            yield f"coverage ({recipe.coverage})", f"{field} ({getattr(recipe, field)})"
    if recipe.smoothing and recipe.loss not in SMOOTHED:
        yield f"smoothing ({recipe.smoothing})", f"loss ({recipe.loss})"
    if recipe.score_every and min(recipe.score_samples, len(data)) < 5:
        yield f"score_samples ({recipe.score_samples})", f"source ({len(data)} pictures)"


def labels_of(data: PictureSet) -> str:
    return f"{len(data.classes) or 'no'} labels"
