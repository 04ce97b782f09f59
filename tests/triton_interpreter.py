"""GPU kernels without a GPU: Triton's interpreter, which a process takes from its start or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def assert_holds_interpreted(cases: str) -> None:
    """Run Python code, whose assertions call kernels, in a process of its own under Triton's interpreter."""
    pytest.importorskip("triton", reason="Triton comes with torch's CUDA wheels alone")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", cases],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
