"""The wheel: what a user gets who has no clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("conf", "pos", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def pip(*arguments: str) -> None:
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *arguments, *offline], check=True, timeout=300)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the wheel's packages and its script."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files beside the sources
    source.mkdir()
    for name in SOURCES:
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True, timeout=60)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    pip("install", "--target", str(folder / "site"), *map(str, folder.glob("*.whl")))
    return folder / "site"


def call(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script of the wheel, run from ``folder``."""
    return subprocess.run(
        [sys.executable, "-P", str(installed / "bin" / "pos"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_wheel_has_every_configuration(installed: Path):
    def files(conf: Path) -> set[str]:
        return {path.relative_to(conf).as_posix() for path in conf.rglob("*.yaml")}

    assert files(installed / "pos" / "conf") == files(ROOT / "conf")
    assert (installed / "pos" / "py.typed").exists()


def test_the_wheel_makes_a_video_from_another_folder(installed: Path, tmp_path: Path):
    listed = call(installed, tmp_path, "--help")
    assert "\n  generate  " in listed.stdout, listed.stderr
    made = call(installed, tmp_path, "generate", "prompt=a red ring", "steps=2", "inversion_check=false")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "outputs/generate/0000-a-red-ring-s0.gif").exists()
    assert f"{installed}/pos/assets" in made.stderr  # not the clone's
