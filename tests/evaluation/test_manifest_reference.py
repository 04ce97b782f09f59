"""From a manifest and a folder of real videos in the official layout to scores that say what was read."""

from __future__ import annotations

import json

import pytest
import torch

from pos.data.benchmarks.checking import make_manifest
from pos.data.benchmarks.manifest import Manifest
from pos.data.benchmarks.protocol import Protocol
from pos.data.benchmarks.published import ucf101
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.faults import Faults
from pos.data.video.reading import read_video
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation import run
from pos.evaluation.frames import FrameChoice, Frames
from pos.evaluation.reference import Reference
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from tests.data.annotations import CLASSES, write_ucf101
from tests.data.clips import ramp, write

PROTOCOL = Protocol(real_images=[0, 6], real_clip=4, real_step=3, splits=1)  # ten frames are needed
SKIP = Faults(missing="skip", corrupt="skip", short="skip")
PAD = Faults(missing="skip", corrupt="skip", short="pad")


def clip(folder, name: str, number: int, frames: int = 12, suffix: str = ".avi"):
    path = folder / name / f"v_{name}_g01_c{number:02}"
    path.parent.mkdir(parents=True, exist_ok=True)
    drift = [frame + 9 * (number + CLASSES.index(name)) for frame in ramp(frames, 64, 64)]
    return write(path.with_suffix(suffix), drift, "mpeg4")


@pytest.fixture
def videos(tmp_path):
    """UCF101's layout, six clips: one is missing, one is short, one corrupt, and one is an .mp4."""
    folder = tmp_path / "UCF-101"
    clip(folder, "ApplyEyeMakeup", 1)
    clip(folder, "ApplyEyeMakeup", 2, suffix=".mp4")
    clip(folder, "ApplyLipstick", 1, frames=7)
    clip(folder, "ApplyLipstick", 2).write_bytes(b"RIFF, and then nothing")
    clip(folder, "YoYo", 1)
    (folder / "YoYo" / "v_YoYo_g02_c01.avi").write_bytes(b"a training clip, which nobody names")
    return folder


@pytest.fixture
def make(tmp_path):
    """A manifest with a policy, written and read back."""

    def made(faults: Faults, videos=None) -> Manifest:
        benchmark = ucf101(write_ucf101(tmp_path / "lists"), protocol=PROTOCOL)
        make_manifest(benchmark, tmp_path / "ucf101.json", videos, faults)
        return Manifest.load(tmp_path / "ucf101.json")

    return made


@pytest.fixture
def reference(videos, detectors, tmp_path):
    def made(manifest: Manifest, **options) -> Reference:
        frames = FrameChoice().of(manifest, "real")
        settings = {"videos": videos, "frames": frames, "device": "cpu", "cache": tmp_path / "cache"}
        out = tmp_path / "real.safetensors"
        run.make_reference(manifest, detectors, out, **{**settings, **options})
        return Reference.load(out)

    return made


def test_missing_short_and_corrupt_videos_are_left_out(make, reference, videos, detectors):
    real = reference(make(SKIP))
    assert real.source == f"3 of 6 videos of ucf101 in {videos}"
    assert real.record["coverage"] == "3 of 6"
    assert real.record["found"] == {"short": 1, "corrupt": 1, "missing": 1}
    assert real.record["faults"] == {"missing": "skip", "corrupt": "skip", "short": "skip"}
    good = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c02.mp4"]
    frames = Frames(images=(0, 6), clip=4, step=3)
    read = [read_video(videos / name, 10, (64, 64), 1) for name in (*good, "YoYo/v_YoYo_g01_c01.avi")]
    for name, rows in detectors.compared(read, frames).items():
        assert frechet_distance(real.statistics[name], FeatureStatistics.of(rows)) < 1e-6


def test_short_videos_are_padded(make, reference):
    real = reference(make(PAD))
    assert real.record["coverage"] == "4 of 6"
    assert real.record["found"]["short"] == 1
    assert real.statistics["fid"].count == 2 * 4
    assert "1 short (pad)" in real.notes[0]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(), r"v_YoYo_g01_c02.avi does not exist. Make the manifest with faults.missing=skip"),
        (Faults(missing="skip"), r"v_ApplyLipstick_g01_c02.avi: it is corrupt .* faults.corrupt=skip"),
        (
            Faults(missing="skip", corrupt="skip", short="error"),
            r"v_ApplyLipstick_g01_c01.avi holds 7 frames, and 10 are needed. .* faults.short=skip",
        ),
    ],
)
def test_a_fault_stops_where_the_manifest_says_error(make, reference, faults, message):
    with pytest.raises(PosError, match=message):
        reference(make(faults))


def test_every_policy_gives_other_statistics_and_the_second_call_none(
    make, reference, detectors, monkeypatch
):
    """Also after a manifest that looked at the videos: what is cached depends on what is read."""
    seen, compared = [], detectors.compared
    monkeypatch.setattr(
        detectors, "compared", lambda videos, frames: seen.append(len(videos)) or compared(videos, frames)
    )
    skipped = reference(make(SKIP), batch_size=2)
    padded = reference(make(PAD), batch_size=2)
    assert seen == [2, 1, 2, 2]
    again = reference(make(PAD), batch_size=2)
    assert seen == [2, 1, 2, 2]
    assert again.record == padded.record
    assert torch.equal(again.statistics["fvd"].scatter, padded.statistics["fvd"].scatter)
    assert not torch.equal(skipped.statistics["fvd"].mean, padded.statistics["fvd"].mean)


def test_a_killed_run_keeps_its_counts(make, reference, detectors, monkeypatch):
    compared, seen = detectors.compared, []

    def killed(videos, frames):
        seen.append(len(videos))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return compared(videos, frames)

    manifest = make(PAD)
    with monkeypatch.context() as patch:
        patch.setattr(detectors, "compared", killed)
        with pytest.raises(KeyboardInterrupt):
            reference(manifest, batch_size=1)
    resumed = reference(manifest, batch_size=1)
    assert resumed.record["found"] == {"short": 1, "corrupt": 1, "missing": 1}
    assert resumed.record["coverage"] == "4 of 6"
    assert resumed.statistics["fvd"].count == 4


def test_results_say_what_they_were_scored_against(make, reference, videos, detectors, tmp_path):
    manifest = make(PAD, videos)
    assert [item.fault for item in manifest.items] == [None, None, "short", "corrupt", None, "missing"]
    reference(manifest)
    for item, scene in zip(manifest.items[:4], range(4), strict=True):
        write_lossless(tmp_path / "made" / f"{item.id}.safetensors", render(draw_scenes([scene]))[0])
    options = {"resamples": 5, "device": "cpu", "cache": tmp_path / "cache"}
    options["reference"] = tmp_path / "real.safetensors"
    results = run.evaluate(tmp_path / "made", None, manifest, detectors, tmp_path / "out", **options)
    assert results.reference_record["coverage"] == "4 of 6"
    assert results.reference_record["manifest"] == results.manifest == manifest.hash
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results.to_json()
    assert any("4 of 6 videos of ucf101" in note and "1 missing (skip)" in note for note in results.notes)
    assert not any("another manifest" in note or "real_" in note for note in results.notes)
    other = make(SKIP)
    results = run.evaluate(tmp_path / "made", None, other, detectors, tmp_path / "out", **options)
    assert any(f"another manifest: ucf101 with the hash {manifest.hash[:16]}" in n for n in results.notes)


def test_frames_other_than_the_manifests_are_reported(make, reference, detectors, tmp_path):
    manifest = make(PAD)
    reference(manifest, frames=Frames(images=(0, 1), clip=4, step=3))
    for index, item in enumerate(manifest.items[:2]):
        write_lossless(tmp_path / "made" / f"{item.id}.safetensors", render(draw_scenes([index]))[0])
    results = run.evaluate(tmp_path / "made", None, manifest, detectors, tmp_path / "out", resamples=5,
                           reference=tmp_path / "real.safetensors", device="cpu", cache=tmp_path)  # fmt: skip
    assert "Scored with real_images [0, 1], and the manifest says [0, 6]." in results.notes
    assert not any("real_clip" in note for note in results.notes)


def test_the_manifests_frames_are_the_default(make):
    manifest = make(PAD)
    assert FrameChoice().of(manifest, "real") == Frames(images=(0, 6), clip=4, step=3)
    assert FrameChoice(images=[1], step=2).of(manifest, "real") == Frames(images=(1,), clip=4, step=2)
    assert FrameChoice().of(manifest, "generated") == Frames()
    images = Manifest("images", manifest.items, {"real_images": [0], "real_clip": [0]}, {})
    assert FrameChoice().of(images, "real") == Frames(images=(0,), clip=1)
    uneven = Manifest("uneven", manifest.items, {"real_clip": [0, 1, 5]}, {})
    with pytest.raises(PosError, match=r"real_clip=\[0, 1, 5\]: only equal steps"):
        FrameChoice().of(uneven, "real")


def test_a_folder_that_is_not_the_manifests_is_named(make, reference, videos, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(
        PosError, match=r"other holds none of the 6 videos that the benchmark names, such as ApplyEyeMakeup/v"
    ):
        reference(make(SKIP), videos=tmp_path / "other")
    with pytest.raises(PosError, match="absent does not exist"):
        reference(make(SKIP), videos=tmp_path / "absent")
    with pytest.raises(PosError, match=r"unreadable=skip: a manifest carries its own policy"):
        reference(make(SKIP), unreadable="skip")
    looked = make(SKIP, videos)
    clip(videos, "YoYo", 1, frames=13)
    clip(videos, "YoYo", 2)
    message = (
        r"2 of the 6 videos of .*UCF-101 are not those that the manifest was made from, such as .*v_YoYo"
    )
    with pytest.raises(PosError, match=message):
        reference(looked)
