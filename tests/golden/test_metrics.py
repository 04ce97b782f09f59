"""Every recording of the original metrics: what a file holds says what is rebuilt and compared.

Recordings with another salt, gain, seed, shape or prompt in the same format need no new code, nor do those of
a part of the entries, under any name: put them in ``metrics/`` of a folder and name that folder in
``$POS_GOLDEN``. A result that equals a known mistake's says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from tests.golden.metrics_clip import clip_cases
from tests.golden.metrics_fid import fid_cases
from tests.golden.metrics_fvd import fvd_cases
from tests.golden.metrics_is import is_cases
from tests.golden.rebuilt import Manifest, build, close, is_manifest, network_of
from tests.golden.recordings import Case, Recording, recordings

# each yields what the entries of a recording allow, and nothing where it has none of them
KINDS: list[Callable[[Recording], Iterator[Case]]] = [fvd_cases, is_cases, fid_cases, clip_cases]
OURS = {"c3d": {"mean"}}  # entries of our networks that the manifests leave to another file
LEFT_OUT = {"inception": {"fc.weight", "fc.bias"}}  # FID reads features alone


def manifest_cases(recording: Recording) -> Iterator[Case]:
    if network_of(Manifest(recording.info)) is not None:
        yield Case("weights", partial(check_manifest, recording))


def check_manifest(recording: Recording) -> None:
    """Our networks have these names and shapes, and the rule gives these weights."""
    manifest = Manifest(recording.info)
    kind = network_of(manifest)
    with torch.device("meta"):
        shapes = {name: list(entry.shape) for name, entry in build(kind, manifest).state_dict().items()}
    expected = {name: entry["shape"] for name, entry in manifest.entries.items()}
    assert expected.keys() - shapes.keys() == LEFT_OUT.get(kind, set())
    assert shapes.keys() - expected.keys() == OURS.get(kind, set())
    assert all(expected[name] == shape for name, shape in shapes.items() if name in expected)
    drawn = [name for name in manifest.entries if manifest.filled(name)]
    for name in drawn[:: max(1, len(drawn) // 40)]:  # they take a while to draw
        entry, tensor = manifest.entries[name], manifest.tensor(name)
        close(tensor.flatten()[:3], torch.tensor(entry["first3"]), rtol=1e-4, atol=1e-6)
        close(float(tensor.double().square().sum()), entry["sumsq"], rtol=1e-4)


def cases_of(recording: Recording) -> list[Case]:
    """The comparisons a recording allows; none when nothing in it is known."""
    if is_manifest(recording.info):
        return list(manifest_cases(recording))
    return [case for cases in KINDS for case in cases(recording)]


FOUND = recordings("metrics")
PAIRS = [
    pytest.param(case, id=f"{found.name}-{case.name}", marks=[pytest.mark.slow] * case.slow)
    for found in FOUND
    for case in cases_of(found)
]


def test_the_folder_holds_recordings() -> None:
    assert FOUND, f"no recordings: POS_GOLDEN={os.environ.get('POS_GOLDEN')!r}/metrics has no *.json"


@pytest.mark.parametrize("recording", FOUND, ids=lambda recording: recording.name)
def test_the_recording_is_known(recording: Recording) -> None:
    assert cases_of(recording), f"{recording.path} holds {list(recording.info)}: no such recording is known"


@pytest.mark.parametrize("case", PAIRS)
def test_recording(case: Case) -> None:
    case.check()
