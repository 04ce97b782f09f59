"""The notebooks: light and clean as they are committed, and running to their end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter
from nbformat import NotebookNode
from transformers import CLIPTextModel

from experiments.run_notebooks import executed
from pos.backbones.base import Defaults
from pos.diffusion.noise import base_noise
from pos.generation import make_requests
from pos.method import Method
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.pipeline import Pipeline
from pos.storage import asset
from tests.backbones.published import SCHEDULER, autoencoder, drawn, image_unet, text_model

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = ["01_quickstart", "02_eta_gamma", "03_noise_space", "04_bring_your_own_model"]
MOST_BYTES = 600_000
PLACES = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|usr|opt|mnt|Users|workspace)\b|[A-Z]:\\")
"""Paths of the machine that a notebook was run on."""


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: NotebookNode) -> list[set[str]]:
    """What kinds of outputs a cell has."""
    return [set(output.get("data", {output.get("name"): ""})) for output in cell.outputs]


def texts(cell: NotebookNode) -> str:
    """The source of a cell and what it printed."""
    printed = [
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs
    ]
    return "\n".join([cell.source, *printed])


def animatediff() -> AnimateDiffPipeline:
    """A tiny one with random weights."""
    motion = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
    )
    pipe = AnimateDiffPipeline(
        vae=autoencoder(),
        text_encoder=text_model(
            CLIPTextModel, 0, vocab_size=2000, max_position_embeddings=64, bos_token_id=1, eos_token_id=2
        ),
        tokenizer=load_tokenizer(asset("shapes/tokenizer.json")),
        unet=image_unet(),
        motion_adapter=drawn(motion, 1, 0.15),
        scheduler=DDIMScheduler.from_config(SCHEDULER),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_they_are_all_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole_and_light(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), (
        "run from top to bottom"
    )
    kinds = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in kinds} <= {"stream", "display_data", "execute_result"}
    assert {output.name for output in kinds if output.output_type == "stream"} <= {"stdout"}
    assert any("image/png" in kind for cell in cells for kind in shown(cell))
    assert not any("image/jpeg" in kind for cell in cells for kind in shown(cell))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_nothing_of_the_machine(path: Path) -> None:
    notebook = read(path)
    told = [texts(cell) if cell.cell_type == "code" else cell.source for cell in notebook.cells]
    assert not PLACES.search("\n".join(told))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}, "no version of Python"
    assert not any(cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize(
    ("text", "found"),
    [("see /home/me/x", True), ("saved in /tmp", True), ("C:\\Users\\me", True), ("outputs/tmp/a", False)],
)
def test_paths_of_a_machine_are_known(text: str, found: bool) -> None:
    assert bool(PLACES.search(text)) is found


def test_a_model_of_ones_own_takes_fewer_than_forty_lines() -> None:
    (path,) = (path for path in NOTEBOOKS if path.stem == "04_bring_your_own_model")
    (wrapper,) = (cell.source for cell in code(read(path)) if "def wrap(" in cell.source)
    assert len(wrapper.splitlines()) < 40


def test_the_wrapper_takes_animatediff_as_it_says() -> None:
    """One line changes: the network takes the text once a frame."""
    cells = [cell.source for cell in code(read(NOTEBOOKS[3]))]
    said = "context.repeat_interleave(latents.shape[2], 0)"
    assert said in read(NOTEBOOKS[3]).cells[-1].source
    names: dict[str, Any] = {}
    exec(cells[0] + "\n" + cells[1].replace("states=context", f"states={said}"), names)
    pipe, size = animatediff(), {"height": 32, "width": 32}
    defaults = Defaults(frames=3, **size, steps=4, guidance=3.0, fps=8)
    backbone = names["wrap"](pipe, "animatediff", defaults)
    (request,) = make_requests(["a ring"])
    (made,) = Pipeline(backbone, Method()).generate([request])
    eps = base_noise(backbone.latent_shape(3, 32, 32), [request.id], [request.seed])
    theirs = pipe(
        "a ring",
        num_frames=3,
        **size,
        num_inference_steps=4,
        guidance_scale=3.0,
        latents=eps,
        output_type="pt",
    ).frames[0]
    assert (made.video - 255 * theirs).abs().max() <= 1
    assert made.video.float().std() > 10, "a picture, not a plain colour"


def test_only_the_fourth_defines_anything() -> None:
    for path in NOTEBOOKS[:3]:
        lines = [line for cell in code(read(path)) for line in cell.source.splitlines()]
        assert not [line for line in lines if line.startswith(("def ", "class "))], path.stem


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    made = executed(path, tmp_path)
    assert [shown(cell) for cell in code(made)] == [shown(cell) for cell in code(read(path))]
    assert path.read_bytes() == before
    left = {found.name for found in tmp_path.iterdir()}
    assert left <= {"outputs"}, "a notebook writes nothing but outputs"


def test_what_a_run_leaves_of_itself_is_not_kept(tmp_path: Path) -> None:
    source = [
        "import sys; from PIL import Image",
        "print('told', flush=True); print('warned', file=sys.stderr, flush=True); print('more')",
        "Image.new('RGB', (640, 480), 'white')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in source])
    path = tmp_path / "tiny.ipynb"
    nbformat.write(notebook, path)
    cells = code(executed(path, tmp_path))
    assert [shown(cell) for cell in cells] == [[], [{"stdout"}], [{"text/plain", "image/png"}]]
    assert cells[1].outputs[0].text == "told\nmore\n"
    assert not any(cell.metadata for cell in cells)
