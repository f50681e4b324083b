"""The one loop that trains every generative adversarial recipe.

All randomness of a step (batch, crops, latents, augmentation, dropout, margins) comes from seeds made of the
recipe's seed, the step and the process's rank: a resumed run needs no generator states to go on exactly.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from gan import nets
from gan.catalog import find
from gan.checkpoint import DISCRIMINATOR, UNBUILT, load_folder, load_weights
from gan.errors import RunError
from gan.files import atomic
from gan.nets.common import add_spectral_norm, plain_weights
from training.checks import check_fit, check_values
from training.data.pictures import PictureSet, draw_batch, mix, order
from training.diffaug import diff_augment
from training.discrepancy import FeatureMemory
from training.ema import Ema
from training.losses import LOSSES, discriminator_loss, generator_loss, gradient_penalty
from training.nearness import Nearness
from training.projected import ProjectedDiscriminator
from training.recipes import GanRecipe
from training.runs import Run
from training.start import everywhere, processes
from training.transport import Transport

SAMPLE_COUNT = 36
# With coverage, which of a batch come from chosen latents and which from freshly drawn ones: every other one, since a
# discriminator may look at the batch's halves in different ways.
CHOSEN, DRAWN = slice(1, None, 2), slice(0, None, 2)
# Among the views: the pictures without augmentation, described as the memory keeps them.
MEMORY = "memory"
# How often a run goes back and tries a smaller rate before it gives up, and how much smaller.
MOST_ROLLBACKS, SMALLER = 3, 0.5


class Stopped(Exception):
    """Raised from ``on_step`` to end a run early; its state is saved first."""


class NotFinite(ArithmeticError):
    """A loss or a weight that is no number."""


def precision(wanted: str, device: torch.device) -> str:
    """accelerate's name for the precision: "bf16" where asked for or, on "auto", where the hardware is fast in it."""
    if wanted == "auto":
        # On CPUs instructions without tiles do not pay: everything else is converted to and fro.
        # Nor does it on older GPUs, which only act as if they had it.
        on_gpu = device.type == "cuda"
        fast = torch.cuda.is_bf16_supported(False) if on_gpu else torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "no"
    return {"bfloat16": "bf16", "float32": "no"}[wanted]


def freeze_first(discriminator: nn.Module, count: int) -> None:
    """Train no more the first ``count`` layers with weights on each of a discriminator's ``ways``."""
    for way in discriminator.ways:
        weighty = [layer for layer in way if any(True for _ in layer.parameters())]
        for layer in weighty[:count]:
            layer.requires_grad_(False)


class Pictures(NamedTuple):
    """What an ordinary discriminator looks at."""

    full: Tensor
    small: Tensor | None


class Fakes(NamedTuple):
    """Generated pictures as the discriminators look at them.

    Attributes:
        views: see :meth:`GanTrainer.views`.
        latents: what they were generated from.
        wanted: descriptions of the real pictures that the CHOSEN of them are to become, or None.
    """

    views: dict[str, Any]
    latents: Tensor
    wanted: list[Tensor] | None


class GanTrainer:
    """Networks, optimizers and data of one run.

    Args:
        recipe: what to train and how.
        data: the training pictures.
        run: where it is kept.

    Raises:
        RunError: for a recipe whose parts do not fit each other or the data.
    """

    def __init__(self, recipe: GanRecipe, data: PictureSet, run: Run) -> None:
        check_values(recipe)
        self.recipe, self.data, self.run = recipe, data, run
        # Not Accelerator().device: the first Accelerator of a process fixes its precision.
        mixed = precision(recipe.precision, processes().device)
        self.accelerator = Accelerator(mixed_precision=mixed)
        self.device = self.accelerator.device
        torch.manual_seed(recipe.seed)
        try:
            self.generator = nets.build(nets.GENERATORS, recipe.network, recipe.network_args)
            judges = {**nets.DISCRIMINATORS, "projected": ProjectedDiscriminator}
            self.discriminators = nn.ModuleDict(
                {name: nets.build(judges, name, arguments) for name, arguments in recipe.discriminators.items()}
            )
        except UNBUILT as error:
            raise RunError("error.run.network", detail=error) from error
        check_fit(recipe, self.generator, self.discriminators, data)
        # A run that has saved stands on its own: the model it began from may be gone.
        if not run.state_file.exists():
            known = self.start_from(recipe.start) if recipe.start else False
            if recipe.freeze and not known:
                first, second = f"freeze ({recipe.freeze})", f"start ({recipe.start or 'none'}), discriminators"
                raise RunError("error.run.fields", first=first, second=second)
        for net in self.discriminators.values() if recipe.freeze else ():
            freeze_first(net, recipe.freeze)
        if "g" in recipe.spectral:
            add_spectral_norm(self.generator)
        if "d" in recipe.spectral:
            add_spectral_norm(self.discriminators)
        self.memory = FeatureMemory(self.generator.latent_size).to(self.device) if recipe.discrepancy else None
        widths = self.memory.widths if recipe.transport else ()
        self.transports = nn.ModuleList(Transport(width) for width in widths).to(self.device)
        for net in (self.generator, self.discriminators):
            net.to(self.device, memory_format=torch.channels_last)
        self.ema = Ema(self.generator, recipe.ema)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), recipe.rate_g, recipe.betas)
        self.judging = [p for p in self.discriminators.parameters() if p.requires_grad]
        self.optimizer_d = torch.optim.Adam(self.judging, recipe.rate_d, recipe.betas)
        self.loss = LOSSES[recipe.loss]
        self.step = 0
        self.seconds = 0.0
        self.rollbacks = 0
        self.beginning: dict[str, Any] | None = None

    def start_from(self, name: str) -> bool:
        """Begin with the generator of a checkpoint, and with its discriminators where they are among the recipe's: True
        when all of the recipe's were.

        Of latents that were lengthened (``export --latents``) the styles keep the factor; the first layer does not,
        where it is spectrally normalised.
        """
        folder = find(name)
        config, network = load_folder(folder)
        own, theirs = self.generator.state_dict(), network.state_dict()
        if any(key not in own or own[key].shape != tensor.shape for key, tensor in theirs.items()):
            first, second = f"start ({name}, {config['network']} {config['arguments']})", "network, network_args"
            raise RunError("error.run.fields", first=first, second=f"{second} ({self.recipe.network_args})")
        # What the checkpoint's generator has not got begins afresh, but for styles, which begin with no say.
        own |= {key: torch.zeros_like(tensor) for key, tensor in own.items() if ".style." in key}
        self.generator.load_state_dict({**own, **theirs})
        if (folder / DISCRIMINATOR).is_file():
            wanted, described = json.loads(json.dumps(self.recipe.discriminators)), config.get("discriminators", {})
            if described and all(wanted.get(name) == arguments for name, arguments in described.items()):
                known = nn.ModuleDict({name: self.discriminators[name] for name in described})
                load_weights(known, folder / DISCRIMINATOR)
                return known.keys() == self.discriminators.keys()
        return False

    @property
    def pictures_per_step(self) -> int:
        """Real pictures that one step sees, over all processes."""
        return self.recipe.batch * self.passes * self.accelerator.num_processes

    @property
    def passes(self) -> int:
        """Batches that the discriminators see in one step on one process."""
        return self.recipe.accumulate * self.recipe.d_steps

    # One step ---------------------------------------------------------------------------------------------------

    def reals(self, micro: int) -> tuple[Tensor, Tensor | None]:
        """The pictures and labels of this step's ``micro``-th batch on this process."""
        recipe, accelerator = self.recipe, self.accelerator
        part = micro * accelerator.num_processes + accelerator.process_index
        first = self.step * self.pictures_per_step + part * recipe.batch
        indices = order(len(self.data), recipe.batch, first, recipe.seed)
        generator = torch.Generator().manual_seed(mix(recipe.seed, self.step, part, 1))
        pictures = draw_batch(self.data, indices, self.side, recipe.crop, recipe.flip, generator)
        labels = self.data.labels[indices].to(self.device) if self.generator.classes else None
        low, high = self.generator.value_range
        pictures = pictures.add(1).mul((high - low) / 2).add(low)
        return pictures.to(self.device, memory_format=torch.channels_last), labels

    @property
    def side(self) -> int:
        """The side of the pictures that this step trains on, 64 and 128 first where the recipe says so."""
        return self.sides[self.stage]

    @property
    def trained_side(self) -> int:
        """The side of the last step: the layers of a larger one have learned nothing yet."""
        return self.sides[self.stage_of(max(0, self.step - 1))]

    @property
    def stage(self) -> int:
        """The step that pictures of this side began with."""
        return self.stage_of(self.step)

    def stage_of(self, step: int) -> int:
        """The step that pictures of the side of ``step`` began with."""
        return max(begun for begun in self.sides if begun <= step)

    @property
    def sides(self) -> dict[int, int]:
        """The sides of the pictures by the steps that they begin with."""
        return {0: 64, self.recipe.lowest_steps: 128, self.recipe.low_steps: self.recipe.resolution}

    def fakes(self, count: int, labels: Tensor | None, wanted: list[Tensor] | None = None) -> Fakes:
        """Freshly generated pictures, with their graph; given the descriptions of ``wanted`` pictures, the CHOSEN ones
        come from the latents that have come nearest to these."""
        latents = torch.randn(count, self.generator.latent_size, device=self.device)
        if wanted:
            latents[CHOSEN] = self.memory.nearest(wanted)
        return Fakes(self.fake_views(latents, labels), latents, wanted)

    def fake_views(self, latents: Tensor, labels: Tensor | None) -> dict[str, Any]:
        """:meth:`views` of pictures generated from ``latents``, with their graph."""
        if self.side < self.recipe.resolution:
            return self.views(self.generator(latents, labels, side=self.side))
        if any(getattr(d, "small", None) for d in self.discriminators.values()):
            return self.views(*self.generator(latents, labels, small=True))
        return self.views(self.generator(latents, labels))

    def views(self, pictures: Tensor, small: Tensor | None = None) -> dict[str, Any]:
        """Augmented pictures as each discriminator wants them: as frozen features, or as they are with a 128² copy."""
        augmented = diff_augment(pictures, self.recipe.augment)
        if small is not None:
            small = diff_augment(small, self.recipe.augment)
        found = {
            name: d.project(augmented) if hasattr(d, "project") else Pictures(augmented, small)
            for name, d in self.discriminators.items()
        }
        return {**found, MEMORY: self.memory.describe(pictures)} if self.memory else found

    def judge(self, name: str, view: Any, labels: Tensor | None, **more: Any) -> Any:
        """One discriminator's answer to its view."""
        judge = self.discriminators[name]
        if not isinstance(view, Pictures):
            return judge(view, labels)
        if getattr(judge, "small", None) is not None:
            more["small"] = view.small
        return judge(view.full, labels, **more)

    def logits(self, views: dict[str, Any], labels: Tensor | None) -> list[Tensor]:
        return [logit.float() for name in self.discriminators for logit in self.judge(name, views[name], labels)]

    def train_step(self) -> dict[str, float]:
        """The discriminators' updates, then one of the generator, on the last of the same generated pictures.

        Raises:
            NotFinite: when a loss is no number; nothing of this step may be kept then.
        """
        recipe = self.recipe
        self.set_rates()
        torch.manual_seed(mix(recipe.seed, self.step, self.accelerator.process_index, 2))
        self.generator.train()
        self.discriminators.train()
        totals = {"d_loss": 0.0, "g_loss": 0.0, "d_real": 0.0, "d_fake": 0.0}
        if recipe.gradient_penalty:
            totals["d_penalty"] = 0.0
        if self.memory:
            totals["g_discrepancy"] = 0.0
        if recipe.coverage:
            totals["g_coverage"] = 0.0
        if recipe.transport:
            totals["g_transport"] = 0.0

        for turn in range(recipe.d_steps):
            self.optimizer_d.zero_grad()
            for micro in range(turn * recipe.accumulate, (turn + 1) * recipe.accumulate):
                fakes, labels = self.discriminator_pass(micro, totals)
            self.apply(self.optimizer_d)

        scale = 1 / recipe.accumulate
        self.optimizer_g.zero_grad()
        self.discriminators.requires_grad_(False)
        for micro in range(self.passes - recipe.accumulate, self.passes):
            with self.accelerator.autocast():
                # Holding every graph of an accumulated step would cost its memory: draw anew instead.
                if recipe.accumulate > 1:
                    _, labels = self.reals(micro) if self.generator.classes else (None, None)
                    fakes = self.fakes(recipe.batch, labels)
                loss = generator_loss(self.loss, self.logits(fakes.views, labels))
            whole = loss
            if self.memory:
                whole = loss + self.spread(fakes, totals, scale)
            (whole * scale).backward()
            totals["g_loss"] += loss.item() * scale
        for parameter in self.judging:
            parameter.requires_grad_(True)
        self.apply(self.optimizer_g)
        # Layers that begin to be trained later than the others need an average that begins with them.
        self.ema.update(self.generator, self.step - self.stage)
        self.step += 1
        if not everywhere(self.accelerator, all(math.isfinite(value) for value in totals.values())):
            raise NotFinite
        return totals

    def spread(self, fakes: Fakes, totals: dict[str, float], scale: float) -> Tensor:
        """The weighted losses that keep the generator from settling on a few pictures, and remembers these."""
        recipe = self.recipe
        # Chosen latents are no sample of what the generator makes.
        sample = DRAWN if fakes.wanted else slice(None)
        drawn = [x[sample] for x in fakes.views[MEMORY]]
        discrepancy = self.memory(drawn)
        totals["g_discrepancy"] += discrepancy.item() * scale
        lost = recipe.discrepancy * discrepancy
        if fakes.wanted:
            coverage = self.memory.apart([x[CHOSEN] for x in fakes.views[MEMORY]], fakes.wanted)
            totals["g_coverage"] += coverage.item() * scale
            lost = lost + recipe.coverage * coverage
        self.memory.add("fake", drawn, fakes.latents[sample])
        for one, x in zip(self.transports, drawn, strict=False):
            one.fake.add(x.detach())
            if one.ready:
                moved = one(x) / len(self.transports)
                totals["g_transport"] += moved.item() * scale
                lost = lost + recipe.transport * moved
        return lost

    def discriminator_pass(self, micro: int, totals: dict[str, float]) -> tuple[Fakes, Tensor | None]:
        """Gradients of the discriminators' loss on one batch, added to theirs; ``totals`` grow by its figures.

        Returns what the generator's update begins with: the generated pictures, with their graph where that update
        will use it, and the labels.
        """
        recipe = self.recipe
        scale = 1 / recipe.accumulate
        real, labels = self.reals(micro)
        reused = recipe.accumulate == 1 and micro == self.passes - 1
        with self.accelerator.autocast():
            with torch.no_grad():
                real_views = self.views(real)
            wanted = None
            if self.memory:
                self.memory.add("real", real_views[MEMORY])
                for one, x in zip(self.transports, real_views[MEMORY], strict=False):
                    one.real.add(x)
                if recipe.coverage and self.memory.full:
                    wanted = [x[CHOSEN] for x in real_views[MEMORY]]
            with torch.set_grad_enabled(reused):
                fakes = self.fakes(len(real), labels, wanted)
            reconstruction = real.new_zeros(())
            real_logits: list[Tensor] = []
            for name, d in self.discriminators.items():
                if recipe.reconstruction and hasattr(d, "decode_whole"):
                    logits, lost = self.judge(name, real_views[name], labels, reconstruct=True)
                    reconstruction = reconstruction + lost
                else:
                    logits = self.judge(name, real_views[name], labels)
                real_logits += [logit.float() for logit in logits]
            cut = {name: detached(view) for name, view in fakes.views.items()}
            fake_logits = self.logits(cut, labels)
            loss = discriminator_loss(self.loss, real_logits, fake_logits, recipe.smoothing)
        whole = loss + recipe.reconstruction * reconstruction
        if recipe.gradient_penalty:
            penalties = [
                gradient_penalty(
                    lambda between, d=d: d(between, labels), real_views[name].full.float(), cut[name].full.float()
                )
                for name, d in self.discriminators.items()
            ]
            penalty = torch.stack(penalties).mean()
            whole = whole + recipe.gradient_penalty * penalty
            totals["d_penalty"] += penalty.item() / self.passes
        (whole * scale).backward()
        totals["d_loss"] += loss.item() / self.passes
        totals["d_real"] += torch.cat([x.flatten() for x in real_logits]).mean().item() / self.passes
        totals["d_fake"] += torch.cat([x.flatten() for x in fake_logits]).mean().item() / self.passes
        return fakes, labels

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
        """Go on to the recipe's last step, saving on its schedule. ``on_step`` may raise Stopped.

        A loss or weight that is no number takes the run back to its last saved state, with half the rates.

        Raises:
            RunError: when that has happened for the fourth time; the last good state is saved then.
        """
        recipe = self.recipe
        if not self.run.state_file.exists():
            self.beginning = copy.deepcopy(self.state())
        self.restore()
        begun = time.monotonic() - self.seconds
        # Drawn after the first step: whoever started the run waits for a sign that it goes.
        untrained = copy.deepcopy(self.ema.average) if self.step == 0 else None
        while self.step < recipe.steps:
            try:
                values = self.train_step()
                last = self.step == recipe.steps
                saves = self.step % recipe.save_every == 0 or last
                if saves and not everywhere(self.accelerator, self.finite()):
                    raise NotFinite
            except NotFinite:
                self.roll_back()
                continue
            self.seconds = time.monotonic() - begun
            if self.accelerator.is_main_process:
                scores, pictures = {}, None
                # Figures of smaller pictures would be lower, and the best of a run is chosen by them.
                whole = self.trained_side == recipe.resolution
                if recipe.score_every and self.step % recipe.score_every == 0 and whole:
                    scores = self.score()
                    begun = time.monotonic() - self.seconds
                if self.step % recipe.snapshot_every == 0 or last or scores:
                    pictures = self.samples()
                    scores["distance"] = self.nearness(pictures)
                # The first ones singly: whoever watches wants to see soon that it goes.
                if self.step % 10 == 0 or self.step < 10 or last or scores:
                    images = self.step * self.pictures_per_step
                    rounded = {name: round(value, 5) for name, value in {**values, **scores}.items()}
                    self.run.add_metrics(step=self.step, seconds=round(self.seconds, 1), images=images, **rounded)
                if untrained:
                    self.save_samples(0, self.samples(untrained))
                    untrained = None
                if pictures is not None:
                    self.snapshot(pictures)
                if saves:
                    self.save()
            if on_step:
                try:
                    on_step(self, values)
                except Stopped:
                    if self.accelerator.is_main_process and self.finite():
                        # The state first: whoever stopped the run may not wait for the rest.
                        self.save()
                        self.snapshot(self.samples())
                    return

    def finite(self) -> bool:
        """Whether all that would be saved of the networks are numbers."""
        stored = (self.generator, self.discriminators, self.ema.average)
        return all(tensor.isfinite().all() for net in stored for tensor in net.state_dict().values())

    def roll_back(self) -> None:
        """Back to the last good state with smaller rates. Raises RunError after the third time, that state saved."""
        failed, seconds, count = self.step, self.seconds, self.rollbacks + 1
        self.restore()
        self.seconds = seconds
        if count <= MOST_ROLLBACKS:
            self.rollbacks = count
        if self.accelerator.is_main_process:
            # At once: a run that is killed now must not try the same rates again.
            self.save()
        if count > MOST_ROLLBACKS:
            if self.accelerator.is_main_process:
                self.snapshot(self.samples())
            raise RunError("error.run.diverged", step=failed, kept=self.step, times=MOST_ROLLBACKS)
        logging.warning(
            "No number at step %d: back to step %d with %g of the rates", failed, self.step, SMALLER**self.rollbacks
        )

    def set_rates(self) -> None:
        """The recipe's rates of the step to come, halved for each time the run went back."""
        recipe, share = self.recipe, SMALLER**self.rollbacks
        if recipe.cooldown:
            share *= min(1.0, (1 - self.step / recipe.steps) / recipe.cooldown)
        for optimizer, rate in ((self.optimizer_g, recipe.rate_g), (self.optimizer_d, recipe.rate_d)):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def snapshot(self, pictures: Tensor) -> None:
        """Keep the averaged generator and the discriminators of this step, and a grid of the generator's pictures."""
        self.save_samples(self.step, pictures)
        self.run.save_snapshot(self.step, plain_weights(self.ema.average), plain_weights(self.discriminators))

    def samples(self, generator: nn.Module | None = None) -> Tensor:
        """What ``generator``, else the averaged one, makes of the same latents each time."""
        return self.draw(SAMPLE_COUNT, 3, generator or self.ema.average)

    @cached_property
    def nearness(self) -> Nearness:
        """Tells how far pictures are from the training's."""
        return Nearness(self.data, self.recipe.resolution)

    def save_samples(self, step: int, pictures: Tensor) -> None:
        """A grid of pictures under ``samples/``."""
        grid = make_grid(pictures, nrow=6, padding=2)
        with atomic(self.run.folder / "samples" / f"step-{step:06d}.png") as path:
            to_pil_image(grid).save(path, "PNG")

    @torch.inference_mode()
    def draw(self, count: int, stream: int, generator: nn.Module) -> Tensor:
        """Pictures in [0, 1] of ``generator`` on the CPU, from the same latents and labels each time.

        ``stream`` tells one purpose's latents from another's.
        """
        source = torch.Generator().manual_seed(mix(self.recipe.seed, stream))
        latents = torch.randn(count, self.generator.latent_size, generator=source)
        labels = torch.arange(count) % self.generator.classes if self.generator.classes else None
        side = self.trained_side
        # Noise that the network draws itself. The next step seeds anew.
        torch.manual_seed(mix(self.recipe.seed, stream + 1))
        pictures = torch.cat(
            [
                generator(
                    latents[i : i + 12].to(self.device),
                    None if labels is None else labels[i : i + 12].to(self.device),
                    **({"side": side} if side < self.recipe.resolution else {}),
                )
                .float()
                .cpu()
                for i in range(0, count, 12)
            ]
        )
        low, high = self.generator.value_range
        return ((pictures - low) / (high - low)).clamp(0, 1)

    def score(self) -> dict[str, float]:
        """FID, KID, precision and recall of the averaged generator, in full precision, against the training pictures,
        whose features are cached."""
        from training.evaluate import spread
        from training.metrics import features, generator_figures, reference_features

        count = self.recipe.score_samples
        fake = self.draw(count, 5, self.ema.average).mul(255).round().to(torch.uint8)
        real = reference_features(spread(self.data, count), fake.shape[-1])
        figures = generator_figures(features([fake]), real)
        return {name: figures[name] for name in ("fid", "kid", "precision", "recall")}

    def state(self) -> dict[str, Any]:
        """All that the run needs to go on exactly."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "rollbacks": self.rollbacks,
            "generator": self.generator.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "ema": self.ema.average.state_dict(),
            "optimizer_g": self.optimizer_g.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
            **({"memory": self.memory.state_dict()} if self.memory else {}),
            **({"transports": self.transports.state_dict()} if self.recipe.transport else {}),
        }

    def save(self) -> None:
        """Write the training state."""
        self.run.save_state(self.state())
        self.beginning = None

    def restore(self) -> None:
        """Take up the run's saved state, else the one that this process began with.

        Raises:
            RunError: for the state of other networks than the recipe builds now.
        """
        state = self.run.load_state() or self.beginning
        with self.run.of_the_same_networks():
            self.generator.load_state_dict(state["generator"])
            self.discriminators.load_state_dict(state["discriminators"])
            self.ema.average.load_state_dict(state["ema"])
            self.optimizer_g.load_state_dict(state["optimizer_g"])
            self.optimizer_d.load_state_dict(state["optimizer_d"])
        # Some states remember less than this memory does: it is soon full again.
        if self.memory and state["memory"].keys() == self.memory.state_dict().keys():
            self.memory.load_state_dict(state["memory"])
        if "transports" in state:
            self.transports.load_state_dict(state["transports"])
        # States of before there were rollbacks lack their number.
        self.step, self.seconds, self.rollbacks = state["step"], state["seconds"], state.get("rollbacks", 0)
        self.run.forget_after(self.step)


def detached(view: Any) -> Any:
    """The same view, cut from its graph."""
    if isinstance(view, Pictures):
        return Pictures(*(x if x is None else x.detach() for x in view))
    return [x.detach() for x in view]
