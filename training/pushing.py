"""Runs that are pushed to the Hub while they train, so that what they have learned outlives the machine.

A push that fails stops no training: it is noted, and the next one makes up for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from gan import hub, hub_commit
from gan.card import write_card
from gan.errors import CantingError
from gan.texts import LANGUAGES
from training import progress, records
from training.promote import promote

# What a run's own repository holds of it. The state is what another machine goes on from; it need not come back.
STATE = "run/state.safetensors"
RESULTS = re.compile(
    r"run/(metrics\.jsonl|samples/step-\d{6}\.png|snapshots/(step|discriminator)-\d{6}\.safetensors)", re.ASCII
)
# The last push of a machine that is about to go.
LAST_ATTEMPTS, BETWEEN_ATTEMPTS = 5, 20


class Pushing:
    """Pushes the run in ``folder`` whenever it has new samples.

    Args:
        push: does it; may raise CantingError.
        note: is told what came of it: a revision, or the error.
    """

    def __init__(
        self,
        folder: Path,
        push: Callable[[], hub_commit.Published],
        note: Callable[[hub_commit.Published | CantingError], None],
    ) -> None:
        self.folder, self.push, self.note = folder, push, note
        self.tried = ""

    def due(self) -> bool:
        """Whether there are samples that no push has been tried for."""
        return newest(self.folder) != self.tried

    def attempt(self) -> bool:
        """Push now; whether that succeeded."""
        self.tried = newest(self.folder)
        try:
            made = self.push()
        except CantingError as error:
            self.note(error)
            return False
        self.note(made)
        return True

    def finish(self) -> None:
        """Push what is there at the end, trying for a few minutes. Raises CantingError when that does not do."""
        for _ in range(LAST_ATTEMPTS - 1):
            if self.attempt():
                return
            time.sleep(BETWEEN_ATTEMPTS)
        self.push()


def newest(folder: Path) -> str:
    """The name of a run's last grid of samples, such as ``step-000500``; empty before there is one."""
    return max((path.stem for path in (folder / "samples").glob("step-*.png")), default="")


def push_run(folder: Path, repository: str) -> hub_commit.Published:
    """Put a run's state, metrics, samples and snapshots under ``run/`` of a repository that is this run's alone.

    Raises:
        HubError: whatever goes wrong on the way.
    """
    here = {f"run/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*")}
    return hub_commit.publish(
        repository,
        "model",
        {path: file for path, file in here.items() if path == STATE or RESULTS.fullmatch(path)},
        owned=lambda path: RESULTS.fullmatch(path) is not None,
        private=None,
        message=f"Canting: {newest(folder) or 'beginning'}",
        force=True,
        token=None,
    )


def push_model(job: str, token: str) -> hub_commit.Published:
    """Make a job's best snapshot its model, and that the newest revision of its owner's private repository.

    Raises:
        HubError: whatever goes wrong on the way.
        RunError: before there is a snapshot.
    """
    checkpoint = promote(records.folder_of(job))
    # The card's title is the run's name, which came after the card.
    write_card(checkpoint)
    return hub.push(
        checkpoint, repository_of(job, token), private=True, message=records.read(job)["title"], force=True, token=token
    )


def repository_of(job: str, token: str) -> str:
    """The repository that is a job's alone, in the namespace of the token's owner."""
    return f"{hub.account(token)}/canting-run-{job[:12]}"


def note_push(job: str, made: hub_commit.Published | CantingError) -> None:
    """Print what came of a job's push, and keep it for whoever looks at the job."""
    if isinstance(made, CantingError):
        said = progress.in_all_languages(made)
    else:
        said = {code: hub.summary(newest(records.folder_of(job)), made, code) for code in LANGUAGES}
    print(said["en"], flush=True)
    with records.changing(job) as record:
        record["push"] = {"note": said}
