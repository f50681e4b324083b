"""What one of several processes does: ``torchrun … shared_latents.py PICTURES OUT BATCH STEPS``.

All processes together draw the latents that one process with the whole batch would draw; all else is the loop's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from training.data.sources import open_source
from training.loop import Fakes, GanTrainer
from training.recipes import GanRecipe
from training.runs import Run
from training.start import processes


class SharedLatents(GanTrainer):
    """Draws its own rows of a batch of latents that is the same on every process."""

    def fakes(self, count: int, labels: torch.Tensor | None, wanted: Any = None) -> Fakes:
        total = count * self.accelerator.num_processes
        latents = torch.randn(total, self.generator.latent_size, generator=torch.Generator().manual_seed(self.step))
        first = count * self.accelerator.process_index
        own = latents[first : first + count]
        return Fakes(self.fake_views(own, labels), own, wanted)


def main(pictures: str, out: str, batch: int, steps: int) -> None:
    recipe = GanRecipe(
        name="shared",
        report="R4",
        source=pictures,
        network="dcgan",
        # Statistics over a batch would be those of each process's own part.
        network_args={"resolution": 32, "width": 8, "norm": "pixel"},
        discriminators={"dcgan": {"resolution": 32, "width": 8, "batch_norm": False}},
        resolution=32,
        loss="hinge",
        batch=batch,
        precision="float32",
        steps=steps,
        save_every=steps,
        snapshot_every=steps,
    )
    processes()
    trainer = SharedLatents(recipe, open_source(pictures, 32, 3), Run(out))
    trainer.train()
    weights = {f"g.{key}": value.contiguous() for key, value in trainer.generator.state_dict().items()}
    weights |= {f"d.{key}": value.contiguous() for key, value in trainer.discriminators.state_dict().items()}
    save_file(weights, Path(out) / f"rank-{trainer.accelerator.process_index}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
