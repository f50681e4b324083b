"""Memory that is kept costs no page fault when it is used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from gan.settings import ROOT

# 32 MB twenty times over, each written to and freed: 8,192 pages of 4 kB each time where none is kept.
FAULTS = """
import resource, sys
import torch
from training.allocator import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def used():
    torch.full((8, 2**20), 1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    used()
before = used()
for _ in range(20):
    after = used()
print(after - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_kept_memory_is_used_again() -> None:
    faults = {}
    for way in ("kept", "plain"):
        words = [sys.executable, "-c", FAULTS, way]
        faults[way] = int(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert faults["kept"] < 2_000 < 50_000 < faults["plain"]
