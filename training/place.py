"""Where a run trains, and where its snapshots go."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gan.errors import HubError, RunError
from gan.settings import on_space

DEFAULT_TIMEOUT = "2h"
FLAVOR = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TIMEOUT = re.compile(r"(?=.*[1-9])\d{1,4}(\.\d{1,2})?[smhd]")


@dataclass(frozen=True)
class Place:
    """Where a run trains, and where its snapshots go.

    Args:
        flavor: the hardware of a Hugging Face job, such as "t4-small"; empty for this machine.
        timeout: how long the job may take, such as "90m" or "2h".
        push: whether a run on this machine pushes its model to the owner's private repository at each snapshot.
        token: the owner's; kept in memory, never written. None takes this machine's own, but never on a Space, whose
            token is not its visitors'.

    Raises:
        RunError: for a flavor or timeout that cannot be one.
    """

    flavor: str = ""
    timeout: str = DEFAULT_TIMEOUT
    push: bool = False
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.flavor and not FLAVOR.fullmatch(self.flavor):
            raise RunError("error.remote.flavor", flavor=self.flavor)
        if not TIMEOUT.fullmatch(self.timeout):
            raise RunError("error.remote.timeout", timeout=self.timeout)

    def record(self) -> dict[str, Any]:
        """What ``job.json`` keeps of it: everything but the token.

        Raises:
            HubError: when it needs a token and there is none.
        """
        if (self.flavor or self.push) and not usable(self.token):
            raise HubError("error.remote.sign_in")
        if self.flavor:
            return {"remote": {"flavor": self.flavor, "timeout": self.timeout}}
        return {"push": {}} if self.push else {}


def usable(token: str | None) -> str | None:
    """``token``, else this machine's own where it may be used."""
    from huggingface_hub import get_token

    return token or (None if on_space() else get_token())
