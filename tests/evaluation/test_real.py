"""Statistics of folders of real videos: by content, resumable, merged."""

from __future__ import annotations

import shutil

import pytest
import torch

from pos.data.benchmarks.real_videos import RealVideos
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation.frames import REAL, Frames
from pos.evaluation.real import RealStatistics
from pos.metrics.frechet import FeatureStatistics, frechet_distance

FRAMES = Frames()


def of_folder(folder, detectors, cache, frames=FRAMES, unreadable="error") -> RealStatistics:
    return RealStatistics(RealVideos.of_folder(folder, unreadable), detectors, cache, frames)


@pytest.fixture
def folder(tmp_path, clips):
    for index, clip in enumerate(clips):
        write_lossless(tmp_path / "videos" / f"v{index:02d}.safetensors", clip)
    return tmp_path / "videos"


@pytest.fixture
def seen(detectors, monkeypatch):
    """Sizes of the batches that the detectors saw."""
    sizes, compared = [], detectors.compared
    monkeypatch.setattr(
        detectors, "compared", lambda videos, frames: sizes.append(len(videos)) or compared(videos, frames)
    )
    return sizes


def test_they_are_those_of_the_features(folder, detectors, clips, tmp_path):
    reference = of_folder(folder, detectors, tmp_path).compute(batch_size=5)
    rows = detectors(clips, ["a ring"] * 12)
    for name in ("fid", "clip", "fvd"):
        assert reference.statistics[name].count == rows[name].numel() // rows[name].shape[-1]
        assert frechet_distance(reference.statistics[name], FeatureStatistics.of(rows[name])) < 1e-6
    assert reference.source == f"12 of 12 videos of {folder}"
    assert reference.detectors == {name: detectors.fingerprints[name] for name in ("fid", "clip", "fvd")}


def test_the_second_time_nothing_is_read(folder, detectors, seen, tmp_path):
    first = of_folder(folder, detectors, tmp_path).compute(batch_size=5)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    again = of_folder(moved, detectors, tmp_path).compute(batch_size=4)
    assert seen == [5, 5, 2]
    for name, statistics in first.statistics.items():
        assert torch.equal(statistics.scatter, again.statistics[name].scatter)


def test_other_content_frames_or_weights_are_read_anew(folder, detectors, make_detectors, tmp_path):
    keys = {
        of_folder(folder, detectors, tmp_path).key,
        of_folder(folder, make_detectors(1), tmp_path).key,
        of_folder(folder, detectors, tmp_path, Frames(images=(0, 1))).key,
    }
    write_lossless(folder / "v03.safetensors", render(draw_scenes([99]))[0])
    keys.add(of_folder(folder, detectors, tmp_path).key)
    assert len(keys) == 4


def test_a_killed_run_goes_on(folder, detectors, seen, tmp_path, monkeypatch):
    whole = of_folder(folder, detectors, tmp_path / "other").compute(batch_size=4)
    seen.clear()
    statistics = of_folder(folder, detectors, tmp_path)
    compared = detectors.compared

    def killed(videos, frames):
        if len(seen) == 2:
            raise KeyboardInterrupt
        return compared(videos, frames)

    with monkeypatch.context() as patch:
        patch.setattr(detectors, "compared", killed)
        with pytest.raises(KeyboardInterrupt):
            statistics.compute(batch_size=4)
    resumed = of_folder(folder, detectors, tmp_path).compute(batch_size=4)
    assert seen == [4, 4, 4]
    for name, there in whole.statistics.items():
        here = resumed.statistics[name]
        assert here.count == there.count
        assert torch.allclose(here.scatter, there.scatter, rtol=1e-10)


def test_short_videos_repeat_their_last_frame(folder, detectors, tmp_path):
    """The paper's frames reach to the 76th."""
    reference = of_folder(folder, detectors, tmp_path, REAL).compute()
    assert reference.statistics["fid"].count == 60


def test_unreadable_videos_are_left_out_and_counted(folder, detectors, seen, tmp_path, caplog):
    for name in ("v00", "v05", "v11"):
        (folder / f"{name}.safetensors").write_bytes(b"nonsense")
    with pytest.raises(PosError, match=r"v00.*unreadable=skip"):
        of_folder(folder, detectors, tmp_path).compute()
    for _ in range(2):
        skipping = of_folder(folder, detectors, tmp_path, unreadable="skip")
        assert skipping.compute(batch_size=3).source == f"9 of 12 videos of {folder}"
    assert seen == [3, 3, 3]
    assert "v11.safetensors" in caplog.text
    for path in folder.iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(PosError, match=r"No video of .* was read"):
        of_folder(folder, detectors, tmp_path, unreadable="skip").compute()
