from __future__ import annotations

import pytest

KEY = "k" * 40


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, and W&B writes nothing outside the test's folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_SWEEP_ID", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb" / name))
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it reads the environment once
