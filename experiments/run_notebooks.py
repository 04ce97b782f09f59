"""Run notebooks and keep what they show: ``python experiments/run_notebooks.py [NOTEBOOK ...]``.

Without names all of ``notebooks/`` are run, each in its own folder. What a run leaves of itself (progress
bars, warnings, times, versions) is not kept, and pictures are kept with 256 colours, so that they are light.
"""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"
SECONDS = 600  # of one cell
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def executed(path: Path, folder: Path) -> NotebookNode:
    """A notebook with the outputs of a fresh run, without those on standard error.

    Args:
        path: of the notebook; it is not written.
        folder: that it is run in, where it writes its ``outputs``.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    metadata = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", record_timing=False, resources=metadata
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _kept(cell.outputs)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def _kept(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """All but standard error, with what was printed in a row as one output, however it came."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
            continue
        _lighten(output.get("data", {}))
        kept.append(output)
    return kept


def _lighten(shown: dict[str, str]) -> None:
    """Keep a picture once, as a PNG with a palette; IPython keeps those of PIL as a JPEG too."""
    shown.pop("image/jpeg", None)
    if "image/png" in shown:
        picture = Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))).convert("RGB")
        stream = io.BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        shown["image/png"] = base64.b64encode(stream.getvalue()).decode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="the files to run and write")
    for path in parser.parse_args().notebooks or sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(executed(path, path.parent), path)
        print(path)
