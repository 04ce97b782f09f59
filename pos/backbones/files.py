"""The files of published models: where they are, and what to say of one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pos.errors import PosError
from pos.storage import content_hash, file_digest


def published(path: Path | str, what: str, where: str, key: str) -> Path:
    """A file of a published model.

    Args:
        path: where it is looked for.
        what: the model, as a reader knows it, for instance ``"Stable Diffusion 1.5"``.
        where: where its authors publish it, a command or an address, for instance
            ``"hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --local-dir DIR"``.
        key: the key of the configuration that takes a local path, for instance ``"backbone.folder"``.

    Raises:
        PosError: the file is absent.
    """
    path = Path(path)
    if not path.is_file():
        raise PosError(f"{path} is absent: get {what} with '{where}' and give its place with {key}=PATH.")
    return path


def fingerprint(files: Sequence[Path]) -> str:
    """A short hash of what files hold, in their order."""
    return content_hash(*(file_digest(path) for path in files))
