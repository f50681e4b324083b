"""A run directory: what a training leaves on disk, so that a kill at any moment loses only the work since the last
save.

    run.json         the recipe and when the run began
    state.safetensors  everything needed to go on exactly: networks, optimizers, EMA, step
    metrics.jsonl    one JSON object a line: step, seconds, images, losses, figures
    log.txt          what was printed
    samples/         step-000500.png: the same latents over time
    snapshots/       step-000500.safetensors: the averaged generator, half precision; at most 20, evenly spaced, and
                     the best by KID

While a process trains the run it holds the lock on .worker.lock (``training.processes.training_alone``).

Every file is written whole under another name, flushed, and renamed into place.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.checkpoint import save_weights
from gan.errors import RunError
from gan.files import atomic

if TYPE_CHECKING:
    from torch import Tensor


def flatten(value: Any, prefix: str = "") -> tuple[dict[str, Tensor], Any]:
    """Split nested dicts and lists into tensors by path, and the same structure with paths in the tensors' place."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return {prefix: value.detach().cpu().contiguous()}, {"tensor": prefix}
    if isinstance(value, dict):
        parts = [(key, flatten(item, f"{prefix}/{key}")) for key, item in value.items()]
        tensors = {name: tensor for _, (found, _) in parts for name, tensor in found.items()}
        return tensors, {"dict": [[key, shape] for key, (_, shape) in parts]}
    if isinstance(value, list | tuple):
        parts = [flatten(item, f"{prefix}/{i}") for i, item in enumerate(value)]
        return {name: t for found, _ in parts for name, t in found.items()}, {"list": [shape for _, shape in parts]}
    return {}, {"value": value}


def unflatten(tensors: dict[str, Tensor], shape: Any) -> Any:
    """The inverse of :func:`flatten` (tuples come back as lists)."""
    kind, content = next(iter(shape.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(tensors, item) for key, item in content}
    if kind == "list":
        return [unflatten(tensors, item) for item in content]
    return content


MOST_SNAPSHOTS = 20
# As ``gan.files.atomic`` names what is not whole yet, and safetensors what it writes beside the file it was told to.
HALF_WRITTEN = re.compile(r"\.[\w-]+\.(safetensors|json|jsonl|png|csv|md)\.[a-z0-9_]{8}\.\1|\.tmp\w{6}", re.ASCII)


def evenly(steps: list[int], most: int, best: int | None = None) -> list[int]:
    """At most ``most`` of ``steps``, ascending, as evenly spaced as leaving out allows.

    The first, the last and ``best`` stay. Of the others, again and again that one goes whose neighbours are nearest to
    each other; called after each new step, this keeps what a single call at the end would keep, within a factor of two.
    """
    kept = sorted(steps)
    while len(kept) > most:
        inner = [i for i in range(1, len(kept) - 1) if kept[i] != best]
        del kept[min(inner, key=lambda i: kept[i + 1] - kept[i - 1])]
    return kept


class Run:
    """One run directory. Creating the object touches nothing on disk."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.state_file = self.folder / "state.safetensors"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.made = False

    def create(self, recipe: Any, **facts: Any) -> None:
        """Write ``run.json``. Raises RunError if the folder already holds a run."""
        if (self.folder / "run.json").exists():
            raise RunError("error.run.exists", folder=self.folder)
        self.made = not self.folder.exists()
        self.write_json("run.json", {"kind": type(recipe).__name__, "recipe": asdict(recipe), **facts})

    def discard(self) -> None:
        """Take :meth:`create` back, unless the training has begun. A folder that was there before stays."""
        if not self.state_file.exists() and not self.metrics():
            (self.folder / "run.json").unlink(missing_ok=True)
            if self.made:
                (self.folder / "log.txt").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.folder.rmdir()

    def clear_up(self) -> None:
        """Remove what a kill in the middle of a write left behind; for whoever holds the run's lock."""
        for place in (self.folder, *(self.folder / name for name in ("samples", "snapshots", "checkpoint"))):
            for leftover in place.glob(".*"):
                if HALF_WRITTEN.fullmatch(leftover.name):
                    leftover.unlink(missing_ok=True)
        for leftover in self.folder.glob(".fetched-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """The contents of ``run.json``. Raises RunError when it is not there or none of a run."""
        try:
            stored = json.loads((self.folder / "run.json").read_text())
            if isinstance(stored["recipe"]["name"], str) and isinstance(stored["kind"], str):
                return stored
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError("error.run.none", folder=self.folder) from error
        raise RunError("error.run.none", folder=self.folder)

    def write_json(self, name: str, content: Any) -> None:
        with atomic(self.folder / name) as path:
            path.write_text(json.dumps(content, indent=1))

    def save_state(self, state: dict[str, Any]) -> None:
        """Store nested dicts and lists of tensors and plain values as one safetensors file."""
        from safetensors.torch import save_file

        tensors, shape = flatten(state)
        with atomic(self.state_file) as path:
            save_file(tensors, path, metadata={"shape": json.dumps(shape)})

    def load_state(self) -> dict[str, Any] | None:
        """What :meth:`save_state` stored last; None before the first save."""
        if not self.state_file.exists():
            return None
        from safetensors import safe_open
        from safetensors.torch import load_file

        try:
            with safe_open(self.state_file, "pt") as stored:
                shape = json.loads(stored.metadata()["shape"])
            # Where a tensor lies in the file decides how sums over it round: copies lie as those of a fresh run do.
            return unflatten({key: tensor.clone() for key, tensor in load_file(self.state_file).items()}, shape)
        except Exception as error:
            raise RunError("error.run.state", file=self.state_file, detail=error) from error

    @contextlib.contextmanager
    def of_the_same_networks(self) -> Iterator[None]:
        """While what :meth:`load_state` gave is put into networks.

        Raises:
            RunError: where it was saved from other networks, by an earlier version or before run.json was changed.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise RunError("error.run.outgrown", folder=self.folder) from error

    def forget_after(self, step: int) -> None:
        """Drop metrics lines, snapshots and grids of samples later than ``step``: the resumed run makes its own, and
        after a roll-back to smaller rates those would be another training's."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        with atomic(self.metrics_file) as path:
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        for kind in ("samples/step-", "snapshots/step-", "snapshots/discriminator-"):
            for made in self.folder.glob(f"{kind}*"):
                if int(made.stem.rpartition("-")[2]) > step:
                    made.unlink(missing_ok=True)

    def add_metrics(self, **values: float) -> None:
        """Append one line to ``metrics.jsonl``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """All whole lines of ``metrics.jsonl``; a line cut off by a kill is left out."""
        lines = []
        if self.metrics_file.exists():
            for line in self.metrics_file.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    lines.append(json.loads(line))
        return lines

    def save_snapshot(
        self, step: int, weights: dict[str, Tensor], discriminators: dict[str, Tensor] | None = None
    ) -> Path:
        """Store weights in half precision under ``snapshots/`` and return the file's path.

        The discriminators, for fine-tuning, lie beside it as ``discriminator-000500.safetensors``.
        """
        path = self.folder / "snapshots" / f"step-{step:06d}.safetensors"
        if discriminators is not None:
            save_weights(path.with_name(f"discriminator-{step:06d}.safetensors"), discriminators)
        save_weights(path, weights)
        self.prune()
        return path

    def prune(self) -> None:
        """Delete snapshots, their discriminators and their grids of samples, until at most 20 are left.

        What :func:`training.export.snapshot_file` would take, the lowest by KID, always stays.
        """
        files = {int(path.stem.removeprefix("step-")): path for path in self.snapshots()}
        measured = [(line["kid"], line["step"]) for line in self.metrics() if "kid" in line and line["step"] in files]
        kept = evenly(list(files), MOST_SNAPSHOTS, min(measured)[1] if measured else None)
        for step in files.keys() - set(kept):
            # The snapshot first: it is what the others belong to.
            files[step].unlink(missing_ok=True)
            files[step].with_name(f"discriminator-{step:06d}.safetensors").unlink(missing_ok=True)
            (self.folder / "samples" / f"step-{step:06d}.png").unlink(missing_ok=True)

    def snapshots(self) -> list[Path]:
        """Snapshot files, oldest first."""
        return sorted((self.folder / "snapshots").glob("step-*.safetensors"))
