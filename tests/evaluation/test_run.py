"""Folders of videos: what is read, matched and scored, and what is refused."""

import csv
import json
import shutil

import pytest
import torch

from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.listing import list_videos
from pos.data.video.reading import read_video
from pos.data.video.writing import write_lossless, write_preview
from pos.errors import PosError
from pos.evaluation import run
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import extract
from pos.evaluation.features import FeatureSet
from pos.evaluation.folder import match_prompts, read_videos
from pos.evaluation.reference import Reference
from pos.evaluation.results import Evaluation
from pos.evaluation.score import score
from pos.reporting.tables import scores_markdown
from pos.storage import asset

PROMPTS = ["a red ring moving left", "a blue star", "a green cross", "a white circle"]


@pytest.fixture
def folder(tmp_path):
    """Our own layout: the lossless video, its preview and its provenance."""
    path = tmp_path / "videos"
    for index, (prompt, clip) in enumerate(zip(PROMPTS, render(draw_scenes(range(4))), strict=True)):
        write_lossless(path / f"v{index}.safetensors", clip)
        write_preview(path / f"v{index}.gif", clip)
        (path / f"v{index}.json").write_text(json.dumps({"prompt": prompt, "id": f"id{index}"}, indent=1))
    return path


def write_csv(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["video", "prompt"], *rows])
    return path


@pytest.fixture
def benchmark(detectors, clips, tmp_path, monkeypatch):
    """The real benchmark with a reference of the untrained networks."""
    benchmark = ShapesBenchmark(size=3)
    features = extract(clips, [str(i) for i in range(12)], ["a ring"] * 12, detectors)
    Reference.of(features, "twelve clips").save(tmp_path / "reference.safetensors")
    monkeypatch.setattr(benchmark, "reference_asset", tmp_path / "reference.safetensors")
    return benchmark


def test_the_lossless_file_is_chosen_and_provenance_read(folder):
    entries = match_prompts(folder)
    assert [entry.path.name for entry in entries] == [f"v{index}.safetensors" for index in range(4)]
    assert [entry.prompt for entry in entries] == PROMPTS
    assert [entry.id for entry in entries] == ["id0", "id1", "id2", "id3"]


def test_videos_of_any_kind_are_listed(folder):
    for index in (1, 2):
        (folder / f"v{index}.safetensors").unlink()
    frames = folder / "v3"
    frames.mkdir()
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.gif").write_bytes(b"")
    FeatureSet([], {"fvd": torch.zeros(1)}, {}).save(folder / "features.safetensors")
    names = ["v0.safetensors", "v1.gif", "v2.gif", "v3.safetensors"]
    assert [path.name for path in list_videos(folder)] == names
    (folder / "v3.safetensors").unlink()
    (folder / "v3.gif").unlink()
    assert [path.name for path in list_videos(folder)] == [*names[:3], "v3"]


def test_images_are_listed_where_there_is_no_video(tmp_path):
    for name in ("b.jpg", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_videos(tmp_path)] == ["a.png", "b.jpg"]
    (tmp_path / "v.mp4").touch()
    assert [path.name for path in list_videos(tmp_path)] == ["v.mp4"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt", "inside"])
def test_prompts_files_overrule_provenance(folder, kind, tmp_path):
    rows = [(f"v{index}.safetensors" if index % 2 else f"v{index}", f"prompt {index}") for index in range(4)]
    path = tmp_path / f"prompts.{kind}"
    if kind == "csv":
        write_csv(path, rows[::-1])
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"video": v, "prompt": p}) + "\n" for v, p in rows))
    elif kind == "txt":
        path.write_text("\n".join(p for _, p in rows) + "\n\n")
    else:
        write_csv(folder / "prompts.csv", rows)
        path = None
    entries = match_prompts(folder, path)
    assert [entry.prompt for entry in entries] == [f"prompt {index}" for index in range(4)]
    assert len({entry.id for entry in entries}) == 4


def test_videos_of_one_prompt_share_an_id(folder, tmp_path):
    rows = [(f"v{index}", PROMPTS[index // 2]) for index in range(4)]
    first, second, third, _ = match_prompts(folder, write_csv(tmp_path / "p.csv", rows))
    assert first.id == second.id != third.id


def test_mismatches_are_named(folder, tmp_path):
    rows = [(f"v{index}", "a ring") for index in range(4)]
    with pytest.raises(PosError, match=r"names 1 videos that .* does not hold, such as v9"):
        match_prompts(folder, write_csv(tmp_path / "more.csv", [*rows, ("v9", "a ring")]))
    with pytest.raises(
        PosError, match=r"1 videos of .* have no prompt in .*fewer.csv, such as v3.safetensors"
    ):
        match_prompts(folder, write_csv(tmp_path / "fewer.csv", rows[:3]))
    with pytest.raises(PosError, match="without a 'prompt'"):
        match_prompts(folder, write_csv(tmp_path / "blank.csv", [*rows[:3], ("v3", " ")]))
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    with pytest.raises(PosError, match="2 prompts for 4 videos"):
        match_prompts(folder, tmp_path / "p.txt")
    (tmp_path / "other.csv").write_text("file,prompt\nv0,a ring\n")
    with pytest.raises(PosError, match="a column 'video' that names a file, and has file, prompt"):
        match_prompts(folder, tmp_path / "other.csv")
    with pytest.raises(PosError, match="does not exist"):
        match_prompts(folder, tmp_path / "absent.csv")
    with pytest.raises(PosError, match="must end in"):
        match_prompts(folder, folder / "v0.gif")
    (folder / "v2.json").write_text("{")
    with pytest.raises(PosError, match=r"v2.json is not JSON"):
        match_prompts(folder)
    (folder / "v2.json").unlink()
    with pytest.raises(PosError, match=r"There is no prompt for .*v2.safetensors: give prompts=FILE"):
        match_prompts(folder)
    with pytest.raises(PosError, match="absent does not exist"):
        match_prompts(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PosError, match="holds no video"):
        match_prompts(tmp_path / "empty")


def test_unreadable_videos_follow_the_policy(folder, caplog):
    (folder / "v1.safetensors").write_bytes(b"nonsense")
    entries = match_prompts(folder)
    with pytest.raises(PosError, match=r"v1.safetensors.*unreadable=skip"):
        list(read_videos(entries, 16, (64, 64)))
    kept, videos, _ = zip(*read_videos(entries, 16, (64, 64), "skip"), strict=True)
    assert [entry.id for entry in kept] == ["id0", "id2", "id3"]
    assert len(videos) == 3
    assert "v1.safetensors" in caplog.text
    with pytest.raises(PosError, match="error or skip, not 'ignore'"):
        list(read_videos(entries, 16, (64, 64), "ignore"))


def test_a_folder_is_scored(folder, benchmark, detectors, tmp_path):
    strange = torch.cat([render(draw_scenes([9]))[0]] * 2).repeat_interleave(2, -1)  # 32 frames of 64x128
    write_lossless(folder / "v4.safetensors", strange)
    (folder / "v4.json").write_text(json.dumps({"prompt": benchmark.prompts[0].text}))
    shutil.copy(folder / "v0.gif", folder / "broken.gif")
    (folder / "broken.gif").write_bytes(b"GIF89a")
    (folder / "broken.json").write_text(json.dumps({"prompt": "a red ring"}))
    settings = {"resamples": 20, "device": "cpu", "batch_size": 2, "cache": tmp_path / "cache"}
    results = run.evaluate(
        folder, None, benchmark, detectors, tmp_path / "out", unreadable="skip", **settings
    )
    coverage = results.coverage
    assert (coverage.videos, coverage.unreadable) == (5, ["broken.gif"])
    assert (coverage.benchmark_prompts, coverage.benchmark_prompts_in_all) == (1, 3)
    assert Evaluation.load(tmp_path / "out").to_json() == results.to_json()
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results.to_json()
    features = FeatureSet.load(tmp_path / "out" / "features.safetensors")
    again = score(features, Reference.load(benchmark.reference_asset), resamples=20)
    assert results.metrics["fvd"].value == again.estimates["fvd"].value
    videos = torch.stack(
        [read_video(e.path, 16, (64, 64)) for e in match_prompts(folder) if "broken" not in str(e.path)]
    )
    direct = detectors(videos, [*PROMPTS, benchmark.prompts[0].text])
    assert torch.allclose(features.tensors["fvd"], direct["fvd"], atol=1e-4)
    assert any("5 videos for 6 features" in note for note in results.notes)
    assert any("broken.gif" in note for note in results.notes)


def test_metrics_without_detector_or_reference_are_reported(
    folder, benchmark, detectors, make_detectors, tmp_path
):
    """The others are computed all the same; without any, nothing is."""
    settings = {"resamples": 10, "device": "cpu", "cache": tmp_path / "cache"}
    some = Detectors(
        clip=make_detectors(1).clip, fvd=detectors.fvd, size=(64, 64), absent={"fid": "No FID here."}
    )
    results = run.evaluate(folder, None, benchmark, some, tmp_path / "out", **settings)
    assert results.metrics.keys() == {"clipsim", "fvd"}
    assert results.absent["fid"] == "No FID here."
    assert results.absent["is"] == "IS has no detector."
    assert "computed with other weights of clip" in results.absent["clip_fid"]
    assert not any("CLIP-FID" in note for note in results.notes)
    text = scores_markdown(results.to_json())
    assert "FID: No FID here." in text
    assert "Accuracy" not in text
    with pytest.raises(PosError, match=r"No metric can be computed. FID has no detector.*IS has no detector"):
        run.evaluate(folder, None, benchmark, Detectors(), tmp_path / "none", **settings)
    with pytest.raises(PosError, match="other weights of clip"):
        score(FeatureSet.load(tmp_path / "out" / "features.safetensors"),
              Reference.load(benchmark.reference_asset), metrics=["clip_fid"])  # fmt: skip


def test_a_folder_of_real_videos_is_the_reference(folder, benchmark, detectors, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache"}
    path = tmp_path / "real.safetensors"
    run.make_reference(benchmark, detectors, path, videos=folder, **settings)
    results = run.evaluate(
        folder, None, benchmark, detectors, tmp_path / "out", reference=path, resamples=5, **settings
    )
    assert results.metrics["fvd"].value < 1e-6  # against itself
    assert results.reference == f"4 of 4 videos of {folder}"
    with pytest.raises(PosError, match="name the file to write with out=FILE"):
        run.make_reference(benchmark, detectors, videos=folder, **settings)


def test_a_manifest_gives_prompts_coverage_and_its_hash(folder, detectors, benchmark, tmp_path):
    """Clips named by an id need no prompts file; results say by which manifest they were scored."""
    named = {"v0": 0, "v1": 0, "id2": 2, "x": 3, "y": 3}
    items = [Item(name, PROMPTS[index]) for name, index in named.items()]
    manifest = Manifest("own", items, {"splits": 10, "generated_images": [0, 4, 8, 12, 15]}, {})
    for name in ("v0", "v1"):
        (folder / f"{name}.json").unlink()
    settings = {"resamples": 20, "device": "cpu", "cache": tmp_path / "cache"}
    settings["reference"] = benchmark.reference_asset
    results = run.evaluate(folder, None, manifest, detectors, tmp_path / "out", splits=1, **settings)
    assert results.manifest == manifest.hash
    coverage = results.coverage  # v0, v1 and id2 by id; v3, whose id is its own, by its text, for one of two
    assert (coverage.benchmark_prompts, coverage.benchmark_prompts_in_all) == (4, 5)
    assert "4 videos of 3 different prompts; 4 of 5 prompts of own have one." in results.notes
    assert "Scored with splits 1, and the manifest says 10." in results.notes
    assert not any("generated_images" in note for note in results.notes)
    assert FeatureSet.load(tmp_path / "out" / "features.safetensors").ids == ["v0", "v1", "id2", "id3"]
    other = Manifest("other", [Item("z", "a cat")], {}, {})
    (folder / "prompts.csv").write_text("video,prompt\n" + "".join(f"v{n},a ring\n" for n in range(4)))
    with pytest.raises(PosError, match=r"None of the 4 videos of .* has an id or a prompt of other"):
        run.evaluate(folder, None, other, detectors, tmp_path / "none", **settings)


def test_a_benchmark_without_statistics_says_how_to_make_them(folder, detectors, tmp_path):
    manifest = Manifest("own", [Item("id0", "a ring")], {}, {})
    with pytest.raises(
        PosError, match=r"own ships no statistics of real videos: make them once .* reference="
    ):
        run.evaluate(folder, None, manifest, detectors, tmp_path / "out", device="cpu", cache=tmp_path)


def test_a_single_video_is_refused(folder, benchmark, detectors, tmp_path):
    for index in (1, 2, 3):
        for path in folder.glob(f"v{index}.*"):
            path.unlink()
    with pytest.raises(PosError, match="at least 2 videos, and there is 1"):
        run.evaluate(folder, None, benchmark, detectors, tmp_path / "out", device="cpu", cache=tmp_path)
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.slow
def test_the_shipped_reference_belongs_to_the_shipped_weights(tmp_path):
    """Recomputed from the 2,048 clips."""
    from pos.evaluation.detectors.shapes import shapes_detectors
    from pos.metrics.frechet import frechet_distance

    benchmark = ShapesBenchmark()
    if not asset(benchmark.reference_asset).is_file():
        pytest.skip("the trained assets and reference statistics are not in this checkout")
    shipped = Reference.load(asset(benchmark.reference_asset))
    computed = run.make_reference(
        benchmark, shapes_detectors(), tmp_path / "r.safetensors", device="cpu", cache=tmp_path
    )
    assert (shipped.detectors, shipped.source) == (computed.detectors, computed.source)
    for name in ("fid", "clip", "fvd"):
        here, there = computed.statistics[name], shipped.statistics[name]
        assert here.count == there.count
        assert frechet_distance(here, there) < 1e-5 * float(there.covariance.trace())
