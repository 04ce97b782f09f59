"""A package and a configuration folder of one's own: backbone, language model, benchmark and study."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pos.cli import main
from pos.data.video.reading import read_video

PACKAGE = '''\
"""A backbone that paints a wall in the colour of the prompt, and what goes with it."""

import torch

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.data.benchmarks.benchmark import Benchmark
from pos.data.shapes.splits import Prompt
from pos.diffusion.levels import ddim_levels
from pos.spr.engines import Reply

COLOURS = {"red": (1.0, -1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}


class Painter(Backbone):
    name = "painter"

    def __init__(self, size=64, device="cpu"):
        self.defaults = Defaults(frames=16, height=size, width=size, steps=2, guidance=1.0, fps=8.0)
        self.fingerprint, self.device, self.dtype = f"painter-{size}", torch.device("cpu"), torch.float32

    def encode_text(self, prompts):
        found = [[COLOURS[word] for word in prompt.split() if word in COLOURS] for prompt in prompts]
        return Conditioning({"colour": torch.tensor([row[0] if row else (0.0, 0.0, 0.0) for row in found])})

    def encode(self, videos):
        return (videos.float() / 127.5 - 1).transpose(1, 2)

    def predict(self, latents, level, conditioning):
        colour = conditioning.tensors["colour"][:, :, None, None, None]
        return (latents - level.signal * colour) / level.noise

    def decode(self, latents):
        return ((latents.transpose(1, 2) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def levels(self, steps):
        return ddim_levels(steps)

    def latent_shape(self, frames, height, width):
        return 3, frames, height, width


class Repaint:
    """A language model that writes blue for red."""

    fingerprint = "repaint"

    def complete(self, instructions, *, attempt, seed):
        yield {row: Reply(text.replace("red", "blue")) for row, text in enumerate(instructions)}


class Walls(Benchmark):
    name = "walls"
    reference_asset = "walls/reference.safetensors"

    def __init__(self, size=None):
        self.prompts = [Prompt(f"w{i}", f"a red wall {i}", {}) for i in range(size or 4)]

    def references(self, batch_size=64):
        raise NotImplementedError
'''
PLUGIN = "from pathlib import Path\n\nPath('imported').touch()\n"
FILES = {
    "backbone/painter.yaml": "# Paints walls.\n_target_: paint.Painter\nsize: 64\ndevice: ${device}\n",
    "rewriter/repaint.yaml": """\
_target_: pos.spr.rewriting.Rewriter
template: null
references: 0
seed: 0
cache: ${cache}
engine: { _target_: paint.Repaint }
guard: { _target_: pos.spr.rewriting.Guard, max_words: 20, min_similarity: 0.0, retries: 0 }
""",
    "benchmark/walls.yaml": "# Four walls.\n_target_: paint.Walls\nsize: 4\n",
    "benchmark/defaults/walls.yaml": "# @package _global_\ndefaults:\n  - shapes\n  - _self_\n\nsteps: 2\n",
    "study/walls.yaml": """\
defaults:
  - /method@rows.baseline.method: baseline
  - /method@rows.spr.method: spr
  - _self_

name: walls
rows:
  baseline: { _target_: pos.study.rows.Row, label: baseline }
  spr: { _target_: pos.study.rows.Row, label: +SPR, method: { gamma: 1.0 } }
""",
}


@pytest.fixture
def pos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command ``pos`` in a folder with the package and its configuration: status, stdout, stderr."""
    (tmp_path / "paint.py").write_text(PACKAGE)
    (tmp_path / "paint_plugin.py").write_text(PLUGIN)
    for name, text in FILES.items():
        path = tmp_path / "my conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("paint", "paint_plugin"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def call(command: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pos", command, "--config-dir", "my conf", *arguments])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


def test_a_backbone_and_a_language_model_of_ones_own_make_a_video(pos, tmp_path: Path):
    chosen = ["backbone=painter", "rewriter=repaint", "method=spr", "method.gamma=1", "prompt=a red wall"]
    status, _, stderr = pos("generate", *chosen)
    assert status == 0, stderr
    (record,) = (tmp_path / "outputs/generate").glob("*.json")
    provenance = json.loads(record.read_text())
    assert (provenance["backbone"], provenance["rewritten_prompt"]) == ("painter", "a blue wall")
    video = read_video(record.with_suffix(".safetensors"), 16).float()
    assert video.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 255], abs=5)


def test_a_sweep_finds_them_too(pos, tmp_path: Path):
    chosen = ["backbone=painter", "method=baseline", "prompt=a red wall", "backbone.size=16,24"]
    status, stdout, stderr = pos("generate", "-m", *chosen)
    assert status == 0, stderr
    assert "**2 jobs**" in stdout
    assert len(list((tmp_path / "outputs/generate").rglob("*.gif"))) == 2


def test_a_study_on_a_benchmark_of_ones_own(pos, tmp_path: Path):
    chosen = ["backbone=painter", "benchmark=walls", "study=walls", "rewriter=repaint", "benchmark.size=4"]
    status, stdout, stderr = pos("reproduce", *chosen, "resamples=10", "report_prompts=1", "out=out")
    assert status == 0, stderr
    assert "| +SPR" in stdout
    assert list(json.loads((tmp_path / "out/walls.json").read_text())["rows"]) == ["baseline", "spr"]
    assert len(list((tmp_path / "out/videos").rglob("*-s0.safetensors"))) == 8


def test_help_and_errors_know_them(pos):
    status, stdout, _ = pos("generate", "--help")
    assert status == 0
    assert re.search(r"\n  painter +Paints walls\.\n", stdout)
    status, _, stderr = pos("generate", "backbone=paintr")
    assert status == 2
    assert "There is no backbone 'paintr'" in stderr
    assert "Did you mean 'painter'?" in stderr
    status, _, stderr = pos("generate", "backbone=painter", "backbone.sice=3")
    assert (status, "There is no key 'backbone.sice'. Did you mean 'backbone.size'" in stderr) == (2, True)
    status, stdout, _ = pos("generate", "backbone=painter", "--cfg", "job")
    assert (status, "_target_: paint.Painter" in stdout) == (0, True)


def test_a_folder_that_is_not_there_is_one_sentence(pos):
    status, _, stderr = pos("generate", "--config-dir=nowhere", "prompt=a")
    assert status == 2
    assert stderr.startswith("error: Additional config directory")
    assert len(stderr.splitlines()) == 1


def test_plugins_are_imported_before_the_work(pos, tmp_path: Path):
    status, _, stderr = pos("evaluate", "videos=nowhere", "plugins=[paint_plugin]")
    assert (status, "folder of videos nowhere does not exist" in stderr) == (2, True)
    assert (tmp_path / "imported").exists()
    status, _, stderr = pos("evaluate", "videos=nowhere", "plugins=[paint_plugins]")
    assert status == 2
    assert "error: plugins names 'paint_plugins', and No module named 'paint_plugins': install" in stderr
