"""The one loop that trains every generative adversarial recipe.

All randomness of a step (batch, crops, latents, augmentation, dropout, margins) comes from seeds made of the
recipe's seed, the step and the process's rank: a resumed run needs no generator states to go on exactly.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from gan import nets
from gan.catalog import find
from gan.checkpoint import DISCRIMINATOR, load_folder, load_weights
from gan.errors import RunError
from gan.files import atomic
from gan.nets.common import add_spectral_norm, plain_weights
from training.data.pictures import PictureSet, draw_batch, mix, order
from training.diffaug import diff_augment
from training.ema import Ema
from training.losses import LOSSES, discriminator_loss, generator_loss
from training.projected import ProjectedDiscriminator
from training.recipes import GanRecipe
from training.runs import Run

SAMPLE_COUNT = 36


class Stopped(Exception):
    """Raised from ``on_step`` to end a run early; its state is saved first."""


def precision(wanted: str, device: torch.device) -> str:
    """accelerate's name for the precision: "bf16" where asked for or, on "auto", where the hardware computes in it."""
    if wanted == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported()
        else:
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "no"
    return {"bfloat16": "bf16", "float32": "no"}[wanted]


class Pictures(NamedTuple):
    """What an ordinary discriminator looks at."""

    full: Tensor
    small: Tensor | None


class GanTrainer:
    """Networks, optimizers and data of one run.

    Args:
        recipe: what to train and how.
        data: the training pictures.
        run: where it is kept.
    """

    def __init__(self, recipe: GanRecipe, data: PictureSet, run: Run) -> None:
        self.recipe, self.data, self.run = recipe, data, run
        # Not Accelerator().device: the first Accelerator of a process fixes its precision.
        mixed = precision(recipe.precision, PartialState().device)
        self.accelerator = Accelerator(mixed_precision=mixed)
        self.device = self.accelerator.device
        if recipe.low_steps and (recipe.resolution <= 128 or set(recipe.discriminators) != {"projected"}):
            raise RunError("error.run.fields", first="low_steps", second="resolution, discriminators")
        torch.manual_seed(recipe.seed)
        self.generator = nets.build(nets.GENERATORS, recipe.network, recipe.network_args)
        self.discriminators = nn.ModuleDict(
            {
                name: ProjectedDiscriminator(**arguments)
                if name == "projected"
                else nets.build(nets.DISCRIMINATORS, name, arguments)
                for name, arguments in recipe.discriminators.items()
            }
        )
        # A run that has saved stands on its own: the model it began from may be gone.
        if recipe.start and not run.state_file.exists():
            self.start_from(recipe.start)
        if "g" in recipe.spectral:
            add_spectral_norm(self.generator)
        if "d" in recipe.spectral:
            add_spectral_norm(self.discriminators)
        for net in (self.generator, self.discriminators):
            net.to(self.device, memory_format=torch.channels_last)
        self.ema = Ema(self.generator, recipe.ema)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), recipe.rate_g, recipe.betas)
        trained = [p for p in self.discriminators.parameters() if p.requires_grad]
        self.optimizer_d = torch.optim.Adam(trained, recipe.rate_d, recipe.betas)
        self.loss = LOSSES[recipe.loss]
        self.step = 0
        self.seconds = 0.0

    def start_from(self, name: str) -> None:
        """Begin with the generator, and where it fits the discriminator, of a checkpoint."""
        folder = find(name)
        config, network = load_folder(folder)
        self.generator.load_state_dict(network.state_dict())
        same = config.get("discriminators") == json.loads(json.dumps(self.recipe.discriminators))
        if same and (folder / DISCRIMINATOR).is_file():
            load_weights(self.discriminators, folder / DISCRIMINATOR)

    @property
    def pictures_per_step(self) -> int:
        """Real pictures that one step sees, over all processes."""
        return self.recipe.batch * self.recipe.accumulate * self.accelerator.num_processes

    # One step ---------------------------------------------------------------------------------------------------

    def reals(self, micro: int) -> tuple[Tensor, Tensor | None]:
        """The pictures and labels of this step's ``micro``-th batch on this process."""
        recipe, accelerator = self.recipe, self.accelerator
        part = micro * accelerator.num_processes + accelerator.process_index
        first = self.step * self.pictures_per_step + part * recipe.batch
        indices = order(len(self.data), recipe.batch, first, recipe.seed)
        generator = torch.Generator().manual_seed(mix(recipe.seed, self.step, part, 1))
        side = 128 if self.low else recipe.resolution
        pictures = draw_batch(self.data, indices, side, recipe.crop, recipe.flip, generator)
        labels = self.data.labels[indices].to(self.device) if self.generator.classes else None
        low, high = self.generator.value_range
        pictures = pictures.add(1).mul((high - low) / 2).add(low)
        return pictures.to(self.device, memory_format=torch.channels_last), labels

    @property
    def low(self) -> bool:
        """Whether this step trains at 128² only, a quarter of the cost."""
        return self.step < self.recipe.low_steps

    def fake_views(self, count: int, labels: Tensor | None) -> dict[str, Any]:
        """:meth:`views` of freshly generated pictures, with their graph."""
        latents = torch.randn(count, self.generator.latent_size, device=self.device)
        if self.low:
            return self.views(self.generator(latents, labels, low=True))
        if any(getattr(d, "small", None) for d in self.discriminators.values()):
            return self.views(*self.generator(latents, labels, small=True))
        return self.views(self.generator(latents, labels))

    def views(self, pictures: Tensor, small: Tensor | None = None) -> dict[str, Any]:
        """Augmented pictures as each discriminator wants them: as frozen features, or as they are with a 128² copy."""
        augmented = diff_augment(pictures, self.recipe.augment)
        if small is not None:
            small = diff_augment(small, self.recipe.augment)
        return {
            name: d.project(augmented) if hasattr(d, "project") else Pictures(augmented, small)
            for name, d in self.discriminators.items()
        }

    def judge(self, name: str, view: Any, labels: Tensor | None, **more: Any) -> Any:
        """One discriminator's answer to its view."""
        if isinstance(view, Pictures):
            if view.small is not None:
                more["small"] = view.small
            return self.discriminators[name](view.full, labels, **more)
        return self.discriminators[name](view, labels)

    def logits(self, views: dict[str, Any], labels: Tensor | None) -> list[Tensor]:
        return [logit for name, view in views.items() for logit in self.judge(name, view, labels)]

    def train_step(self) -> dict[str, float]:
        """One update of the discriminators, then one of the generator, on the same generated pictures."""
        recipe = self.recipe
        torch.manual_seed(mix(recipe.seed, self.step, self.accelerator.process_index, 2))
        self.generator.train()
        self.discriminators.train()
        totals = {"d_loss": 0.0, "g_loss": 0.0, "d_real": 0.0, "d_fake": 0.0}
        scale = 1 / recipe.accumulate

        self.optimizer_d.zero_grad()
        for micro in range(recipe.accumulate):
            real, labels = self.reals(micro)
            with self.accelerator.autocast():
                fake_views = self.fake_views(len(real), labels)
                with torch.no_grad():
                    real_views = self.views(real)
                reconstruction = real.new_zeros(())
                real_logits: list[Tensor] = []
                for name, d in self.discriminators.items():
                    if recipe.reconstruction and hasattr(d, "decode_whole"):
                        logits, lost = self.judge(name, real_views[name], labels, reconstruct=True)
                        reconstruction = reconstruction + lost
                    else:
                        logits = self.judge(name, real_views[name], labels)
                    real_logits += logits
                fake_logits = self.logits({k: detached(v) for k, v in fake_views.items()}, labels)
                loss = discriminator_loss(self.loss, real_logits, fake_logits)
            ((loss + recipe.reconstruction * reconstruction) * scale).backward()
            totals["d_loss"] += loss.item() * scale
            totals["d_real"] += torch.cat([x.flatten() for x in real_logits]).mean().item() * scale
            totals["d_fake"] += torch.cat([x.flatten() for x in fake_logits]).mean().item() * scale
        self.apply(self.optimizer_d)

        self.optimizer_g.zero_grad()
        self.discriminators.requires_grad_(False)
        for micro in range(recipe.accumulate):
            with self.accelerator.autocast():
                # Holding every graph of an accumulated step would cost its memory: draw anew instead.
                if recipe.accumulate > 1:
                    _, labels = self.reals(micro) if self.generator.classes else (None, None)
                    fake_views = self.fake_views(recipe.batch, labels)
                loss = generator_loss(self.loss, self.logits(fake_views, labels))
            (loss * scale).backward()
            totals["g_loss"] += loss.item() * scale
        self.discriminators.requires_grad_(True)
        self.apply(self.optimizer_g)
        self.ema.update(self.generator, self.step)
        self.step += 1
        if not all(math.isfinite(value) for value in totals.values()):
            # Nothing of this step is saved: the run can be resumed from the state before it.
            raise RunError("error.run.not_finite", step=self.step)
        return totals

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """Average the gradients over the processes and step."""
        if self.accelerator.num_processes > 1:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        optimizer.step()

    # The whole run ----------------------------------------------------------------------------------------------

    def train(self, on_step: Callable[[GanTrainer, dict[str, float]], None] | None = None) -> None:
        """Go on to the recipe's last step, saving on its schedule. ``on_step`` may raise Stopped."""
        recipe = self.recipe
        self.restore()
        begun = time.monotonic() - self.seconds
        if self.step == 0:
            self.save_samples()
        while self.step < recipe.steps:
            values = self.train_step()
            self.seconds = time.monotonic() - begun
            last = self.step == recipe.steps
            if self.accelerator.is_main_process:
                # The first ones singly: whoever watches wants to see soon that it goes.
                if self.step % 10 == 0 or self.step < 10 or last:
                    images = self.step * self.pictures_per_step
                    rounded = {name: round(value, 5) for name, value in values.items()}
                    self.run.add_metrics(step=self.step, seconds=round(self.seconds, 1), images=images, **rounded)
                if self.step % recipe.snapshot_every == 0 or last:
                    self.snapshot()
                if self.step % recipe.save_every == 0 or last:
                    self.save()
            if on_step:
                try:
                    on_step(self, values)
                except Stopped:
                    if self.accelerator.is_main_process:
                        # The state first: whoever stopped the run may not wait for the rest.
                        self.save()
                        self.snapshot()
                    return

    def snapshot(self) -> None:
        """Keep the averaged generator and the discriminators of this step, and a grid of pictures."""
        self.save_samples()
        self.run.save_snapshot(self.step, plain_weights(self.ema.average), plain_weights(self.discriminators))

    @torch.inference_mode()
    def save_samples(self) -> None:
        """A grid of the same latents each time, under ``samples/``."""
        draw = torch.Generator().manual_seed(mix(self.recipe.seed, 3))
        latents = torch.randn(SAMPLE_COUNT, self.generator.latent_size, generator=draw)
        labels = torch.arange(SAMPLE_COUNT) % self.generator.classes if self.generator.classes else None
        torch.manual_seed(mix(self.recipe.seed, 4))
        pictures = torch.cat(
            [
                self.ema.average(
                    latents[i : i + 12].to(self.device),
                    None if labels is None else labels[i : i + 12],
                    **({"low": True} if self.low else {}),
                )
                for i in range(0, SAMPLE_COUNT, 12)
            ]
        )
        low, high = self.generator.value_range
        grid = make_grid((pictures.float().cpu() - low) / (high - low), nrow=6, padding=2).clamp(0, 1)
        with atomic(self.run.folder / "samples" / f"step-{self.step:06d}.png") as path:
            to_pil_image(grid).save(path, "PNG")

    def save(self) -> None:
        """Write the training state."""
        self.run.save_state(
            {
                "step": self.step,
                "seconds": self.seconds,
                "generator": self.generator.state_dict(),
                "discriminators": self.discriminators.state_dict(),
                "ema": self.ema.average.state_dict(),
                "optimizer_g": self.optimizer_g.state_dict(),
                "optimizer_d": self.optimizer_d.state_dict(),
            }
        )

    def restore(self) -> None:
        """Take up the run's saved state, if there is one."""
        state = self.run.load_state()
        if state is None:
            self.run.forget_after(0)
            return
        self.generator.load_state_dict(state["generator"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.ema.average.load_state_dict(state["ema"])
        self.optimizer_g.load_state_dict(state["optimizer_g"])
        self.optimizer_d.load_state_dict(state["optimizer_d"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.run.forget_after(self.step)


def detached(view: Any) -> Any:
    """The same view, cut from its graph."""
    if isinstance(view, Pictures):
        return Pictures(*(x if x is None else x.detach() for x in view))
    return [x.detach() for x in view]
