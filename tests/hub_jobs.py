"""Hugging Face Jobs for the Hub on loopback: a job's command runs as a process of this machine, in a folder of its own.

The process is given what the real one is, the job's environment and secrets, and of this machine's only where its
programs are; pip may not leave the machine. What it prints is the job's log.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TERMINAL = ("COMPLETED", "CANCELED", "ERROR", "DELETED")


class Job:
    """One job: what was asked for, its stage, and its log so far. ``instead`` is a script to run in its place."""

    def __init__(self, owner: str, asked: dict[str, Any], name: str, instead: str = "") -> None:
        self.owner, self.asked, self.id = owner, asked, name
        self.command = ["bash", "-c", instead] if instead else asked["command"]
        self.labels: dict[str, str] = asked.get("labels") or {}
        self.stage, self.message = "SCHEDULING", None
        self.log: list[str] = []
        self.changed = threading.Condition()
        self.process: subprocess.Popen | None = None
        self.finished = threading.Event()

    @property
    def ended(self) -> bool:
        return self.stage in TERMINAL

    def start(self) -> None:
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        """Carry the command out to its end."""
        here = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PIP_NO_INDEX": "1",
            "HF_HUB_DISABLE_XET": "1",
        }
        with tempfile.TemporaryDirectory(prefix="job-", ignore_cleanup_errors=True) as folder:
            with self.changed:
                if self.ended:
                    return
                self.process = subprocess.Popen(
                    self.command,
                    cwd=folder,
                    env=here | {"HOME": folder} | self.asked["environment"] | self.asked.get("secrets", {}),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self.stage = "RUNNING"
            # A carriage return does not end a line.
            for line in io.TextIOWrapper(self.process.stdout, errors="replace", newline="\n"):
                self.say(line.rstrip("\n"))
            code = self.process.wait()
            with self.changed:
                if not self.ended:
                    self.stage = "ERROR" if code else "COMPLETED"
                    self.message = f"Job failed with exit code: {code}" if code else None
                self.changed.notify_all()
        self.finished.set()

    def say(self, line: str) -> None:
        with self.changed:
            self.log.append(line)
            self.changed.notify_all()

    def end(self, stage: str) -> None:
        """End it before its time."""
        with self.changed:
            if self.ended:
                return
            self.stage = stage
            self.changed.notify_all()
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def lines(self) -> Iterator[str]:
        """The log from its beginning, waiting for more until the job has ended."""
        sent = 0
        while True:
            with self.changed:
                while len(self.log) == sent and not self.ended:
                    self.changed.wait()
                new, sent = self.log[sent:], len(self.log)
                if not new:
                    return
            yield from new

    def described(self) -> dict[str, Any]:
        """What the Hub's answer says of it: of secrets only the names."""
        return {
            "id": self.id,
            "createdAt": "2026-01-02T03:04:05.000Z",
            "dockerImage": self.asked["dockerImage"],
            "command": self.asked["command"],
            "arguments": [],
            "environment": self.asked["environment"],
            "secrets": {name: None for name in self.asked.get("secrets", {})},
            "flavor": self.asked["flavor"],
            "labels": self.labels,
            "status": {"stage": self.stage, "message": self.message},
            "owner": {"id": "1", "name": self.owner, "type": "user"},
        }
