"""One conversion, from the published file to a folder of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pos.conversion.reading import check_file
from pos.conversion.writing import Part, write_parts
from pos.storage import file_digest


class Format(Protocol):
    """A published format: ``conf/weights`` names its class, whose constructor is the schema."""

    def __call__(self, source: Path) -> Mapping[str, Part]:
        """Read the published file into networks, by the names of the files to write.

        Raises:
            PosError: the file is not of this format, or something in it has no place.
        """


def convert(weights: Format, source: Path | str, out: Path | str) -> list[Path]:
    """Convert ``source`` into ``out/<name>.safetensors``, one file a network.

    Returns:
        The files, those that were there already with the same content included.

    Raises:
        PosError: the source is absent, damaged or not of this format; a file in ``out`` holds something else.
    """
    source = check_file(source)
    return write_parts(weights(source), Path(out), file_digest(source))
