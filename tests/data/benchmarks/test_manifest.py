"""The manifest's file and hash, and what is found when the real videos are looked at."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pos.data.benchmarks.checking import Faults, checked, make_manifest
from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.benchmarks.protocol import Protocol
from pos.data.benchmarks.published import coco, msrvtt
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from tests.data.annotations import write_coco, write_msrvtt
from tests.data.clips import ramp, write

SHORT = Protocol(real_images=[0, 3], real_clip=3, real_step=2)  # five frames are needed


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    return msrvtt(write_msrvtt(tmp_path / "annotations.json", [7010, 7011, 7012, 7013]), protocol=SHORT)


@pytest.fixture
def videos(tmp_path):
    """One whole, one short, one corrupt, one missing."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write(folder / "video7010.mp4", ramp(5))
    write(folder / "video7011.mp4", ramp(4))
    (folder / "video7012.mp4").write_bytes(b"not a video")
    return folder


def test_a_manifest_reads_back_as_it_was(manifest, tmp_path):
    manifest.save(tmp_path / "m.json")
    again = Manifest.load(tmp_path / "m.json")
    assert (again.hash, again.items, again.choices) == (manifest.hash, manifest.items, manifest.choices)
    assert json.loads((tmp_path / "m.json").read_text())["hash"] == manifest.hash
    assert [prompt.id for prompt in again.prompts] == [item.id for item in manifest.items]


def test_the_hash_is_of_the_content_alone(manifest):
    same = Manifest("msrvtt", manifest.items, dict(reversed(manifest.choices.items())), manifest.sources)
    assert same.hash == manifest.hash
    changes = [
        Manifest("other", manifest.items, manifest.choices, manifest.sources),
        Manifest("msrvtt", manifest.items[::-1], manifest.choices, manifest.sources),
        Manifest("msrvtt", [*manifest.items[:3], replace(manifest.items[3], prompt="a")], manifest.choices,
                 manifest.sources),
        Manifest("msrvtt", manifest.items, {**manifest.choices, "splits": 10}, manifest.sources),
        Manifest("msrvtt", manifest.items, manifest.choices, {"annotations.json": "0"}),
    ]  # fmt: skip
    assert len({manifest.hash, *(changed.hash for changed in changes)}) == 6


def test_one_that_was_edited_by_hand_is_refused(manifest, tmp_path):
    path = tmp_path / "m.json"
    manifest.save(path)
    path.write_text(path.read_text().replace(f'"{manifest.items[0].prompt}"', '"a better caption"'))
    with pytest.raises(
        PosError, match=f"was changed after it was written: it says hash {manifest.hash[:16]}"
    ):
        Manifest.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "Cannot read the manifest .*m.json: No such file"),
        ("{", "is not JSON"),
        ("[]", "is no manifest: its key 'format' must be 'pos-manifest-1'"),
        ('{"format": "pos-manifest-2"}', "is no manifest"),
        ('{"format": "pos-manifest-1"}', "is damaged: 'items'"),
        ('{"format": "pos-manifest-1", "items": [{"name": 1}]}', "is damaged: .*'name'"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path, text, said):
    if text is not None:
        (tmp_path / "m.json").write_text(text)
    with pytest.raises(PosError, match=said):
        Manifest.load(tmp_path / "m.json")


def test_ids_differ_and_there_is_one(manifest):
    with pytest.raises(PosError, match="names b more than once"):
        Manifest("twice", [Item("a", "x"), Item("b", "x"), Item("b", "y")], {}, {})
    with pytest.raises(PosError, match="name their folder with videos=DIR"):
        manifest.references()
    with pytest.raises(PosError, match="renders its own clips: take its benchmark without a manifest"):
        Manifest("shapes-test", [Item("a", "a ring")], {}, {}).references()
    with pytest.raises(PosError, match="ships no statistics of real videos"):
        manifest.reference_asset  # noqa: B018
    assert Manifest.of(ShapesBenchmark(size=2)).reference_asset == ShapesBenchmark.reference_asset


def test_faults_stop_by_default(manifest, videos):
    with pytest.raises(PosError, match=r"video7012.mp4: it is corrupt .* Set faults.corrupt=skip"):
        checked(manifest, videos, Faults())
    with pytest.raises(PosError, match=r"video7011.mp4 holds 4 frames, and 5 are needed. Set faults.short"):
        checked(manifest, videos, Faults(short="error"))
    with pytest.raises(PosError, match=r"video7013.mp4 does not exist. Set faults.missing=skip"):
        checked(manifest, videos, Faults(corrupt="skip"))


@pytest.mark.parametrize(("short", "coverage"), [("pad", "2 of 4"), ("skip", "1 of 4")])
def test_faults_are_recorded_and_counted(manifest, videos, short, coverage, caplog):
    seen = checked(manifest, videos, Faults(missing="skip", corrupt="skip", short=short))
    assert [item.fault for item in seen.items] == [None, "short", "corrupt", "missing"]
    assert seen.coverage == coverage
    assert seen.items[0].sha256 == hashlib.sha256((videos / "video7010.mp4").read_bytes()).hexdigest()
    assert seen.items[3].sha256 is None
    assert seen.choices["faults"] == {"missing": "skip", "corrupt": "skip", "short": short}
    assert seen.choices["real_videos_found"] == {"corrupt": 1, "missing": 1, "short": 1}
    assert "1 of 4 videos are missing: skip" in caplog.text
    assert len({manifest.hash, seen.hash}) == 2
    assert [prompt.text for prompt in seen.prompts] == [prompt.text for prompt in manifest.prompts]


def test_another_file_of_the_same_name_changes_the_hash(manifest, videos):
    policy = Faults(missing="skip", corrupt="skip")
    before = checked(manifest, videos, policy)
    assert checked(manifest, videos, policy).hash == before.hash
    write(videos / "video7010.mp4", ramp(6))
    assert checked(manifest, videos, policy).hash != before.hash


def test_images_are_videos_of_one_frame(tmp_path):
    protocol = Protocol(real_images=[0], real_clip=1, real_step=1, generated_images=[0], generated_clip=1)
    manifest = coco(write_coco(tmp_path / "captions.json", 2), protocol=protocol)
    for item in manifest.items:
        Image.new("RGB", (40, 30), "red").save(tmp_path / item.video)
    assert checked(manifest, tmp_path, Faults()).coverage == "2 of 2"
    (tmp_path / manifest.items[1].video).write_bytes(b"\xff\xd8\xff")
    assert checked(manifest, tmp_path, Faults(corrupt="skip")).coverage == "1 of 2"


def test_unknown_policies_and_absent_folders_are_named(manifest, tmp_path):
    with pytest.raises(PosError, match=r"faults.missing must be error or skip, not 'pad'"):
        Faults(missing="pad")
    with pytest.raises(PosError, match=r"faults.short must be error or skip or pad, not 'repeat'"):
        Faults(short="repeat")
    with pytest.raises(PosError, match="absent does not exist"):
        checked(manifest, tmp_path / "absent", Faults())
    with pytest.raises(PosError, match="renders its own clips"):
        checked(Manifest.of(ShapesBenchmark(size=2)), tmp_path, Faults())


def test_the_command_writes_the_manifest_and_its_prompts(tmp_path):
    made = make_manifest(ShapesBenchmark(size=3), tmp_path / "out" / "shapes.json", None, Faults())
    assert Manifest.load(tmp_path / "out" / "shapes.json").hash == made.hash
    with (tmp_path / "out" / "shapes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["prompt"]) for row in rows] == [(p.id, p.text) for p in made.prompts]
    with pytest.raises(PosError, match=r"must end in .json"):
        make_manifest(ShapesBenchmark(size=3), tmp_path / "shapes.csv", None, Faults())


def test_lossless_files_are_counted_too(tmp_path):
    write_lossless(tmp_path / "a.safetensors", torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    manifest = Manifest("own", [Item("a", "dark", "a.safetensors")], SHORT.record(), {})
    assert checked(manifest, tmp_path, Faults()).items[0].fault == "short"
