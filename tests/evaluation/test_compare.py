"""Verdicts over evaluated folders: known differences, pairing, and what is refused."""

import json

import pytest
import torch

from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.errors import PosError
from pos.evaluation.bootstrap import permutation_p
from pos.evaluation.compare import compare_folders
from pos.evaluation.features import FeatureSet
from pos.evaluation.frames import Frames
from pos.evaluation.reference import Reference
from pos.evaluation.results import Coverage, Evaluation

N = 60
DETECTORS = {"fid": "f", "clip": "c", "fvd": "v", "inception": "i", "judge": "j"}
RESULTS = Evaluation(
    videos="videos",
    benchmark="shapes-test",
    manifest="m",
    reference="sixty clips",
    reference_record={},
    detectors=DETECTORS,
    frames=Frames(),
    splits=1,
    coverage=Coverage(N, [], N, N, N),
    resamples=500,
    seed=0,
    metrics={},
    sizes={},
    absent={},
    notes=[],
)


def features(shift: float, seed: int = 0) -> FeatureSet:
    """Gaussian features ``shift`` away from the real ones; cosines fall and accuracy falls with it."""
    draw = torch.Generator().manual_seed(seed)
    named = torch.zeros(N, 6, dtype=torch.long)
    named[:, 5] = -1
    tensors = {
        "fid": torch.randn(N, 2, 3, generator=draw) + shift,
        "clip": torch.randn(N, 2, 3, generator=draw) + shift,
        "fvd": torch.randn(N, 3, generator=draw) + shift,
        "classes": torch.full((N, 4), 0.25),
        "clipsim": torch.rand(N, generator=draw) / 10 - shift / 5,
        "judged": (torch.rand(N, 6, generator=draw) < 0.2 + shift / 4).long(),
        "named": named,
    }
    return FeatureSet([f"p{index}" for index in range(N)], tensors, DETECTORS)


@pytest.fixture
def folder(tmp_path):
    real = features(0, seed=9)
    Reference.of(real, "sixty clips").save(tmp_path / "real.safetensors")

    def write(name: str, found: FeatureSet, **results) -> str:
        found.save(tmp_path / name / "features.safetensors")
        RESULTS.save(tmp_path / name)
        path = tmp_path / name / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | results))
        return str(tmp_path / name)

    return write


def verdicts(a: str, b: str, tmp_path) -> dict[str, str]:
    sentences = compare_folders(a, b, ShapesBenchmark(size=2), reference=tmp_path / "real.safetensors")
    return dict(sentence.split(": ", 1) for sentence in sentences)


def test_a_folder_nearer_to_the_real_videos_is_better(folder, tmp_path):
    far, near = folder("far", features(1.0)), folder("near", features(0.1, seed=1))
    found = verdicts(far, near, tmp_path)
    for label in ("FID", "CLIP-FID", "FVD", "CLIPSIM", "Accuracy"):
        assert found[label].startswith("better, "), found
    assert found["IS"].startswith("undecided, 1 to 1")
    assert found["Accuracy of texture"] == "not defined, no prompt names it."
    assert found["CLIPSIM"].endswith("permutation p = 0.0001).")
    back = verdicts(near, far, tmp_path)
    assert all(
        back[label].startswith("worse, ") for label in ("FID", "CLIP-FID", "FVD", "CLIPSIM", "Accuracy")
    )


def test_diversity_needs_two_videos_of_a_prompt(folder, tmp_path):
    rows = features(0.5)
    rows.tensors["embedding"] = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))
    a, b = (
        folder(name, rows, metrics={"diversity": {"value": None, "low": None, "high": None}}) for name in "ab"
    )
    assert verdicts(a, b, tmp_path)["Diversity"] == "not defined, no prompt has two videos."


def test_equal_rows_are_undecided_in_any_order(folder, tmp_path):
    rows = features(0.5)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3)).tolist()
    mixed = FeatureSet(
        [rows.ids[i] for i in order], {name: t[order] for name, t in rows.tensors.items()}, DETECTORS
    )
    found = verdicts(folder("a", rows), folder("b", mixed), tmp_path)
    assert found.pop("Compared").endswith("/a, 60 videos of 60 different prompts each.")
    defined = [sentence for sentence in found.values() if "not defined" not in sentence]
    assert all(sentence.startswith("undecided, ") for sentence in defined)
    assert found["CLIPSIM"].endswith("a difference of +0 (95% from +0 to +0; permutation p = 1).")


def test_what_cannot_be_compared_is_named(folder, tmp_path):
    rows = features(0.5)
    a = folder("a", rows)
    other = FeatureSet(["q", *rows.ids[1:]], rows.tensors, DETECTORS)
    with pytest.raises(PosError, match=r"60 videos and .* 60, and 59 are of the same prompts"):
        verdicts(a, folder("b", other), tmp_path)
    for name, value in (("manifest", "n"), ("splits", 10), ("frames", {"clip": 8})):
        with pytest.raises(PosError, match=f"scored with different {name}: evaluate them in the same way"):
            verdicts(a, folder("b", rows, **{name: value}), tmp_path)
    with pytest.raises(
        PosError, match=r"/b was scored against other clips, and this reference is sixty clips"
    ):
        verdicts(a, folder("b", rows, reference="other clips"), tmp_path)
    with pytest.raises(PosError, match=r"holds no results.json: run experiments/evaluate.py"):
        verdicts(a, str(tmp_path / "absent"), tmp_path)
    strange = FeatureSet(rows.ids, rows.tensors, {**DETECTORS, "fvd": "w"})
    sentence = verdicts(folder("d", strange), folder("e", strange), tmp_path)["FVD"]
    assert sentence.startswith(
        "not compared. The reference statistics (sixty clips) were computed with other weights"
    )
    others = FeatureSet(rows.ids, rows.tensors, {**DETECTORS, "judge": "k"})
    with pytest.raises(PosError, match="different weights"):
        verdicts(a, folder("c", others), tmp_path)


def test_the_permutation_test_counts_signs():
    """Three equal differences: of the 8 signs two are as extreme; of one prompt's three seeds, all."""
    three = torch.tensor([0.1, 0.1, 0.1])
    assert permutation_p(three, ["a", "b", "c"]) == pytest.approx(0.25, abs=0.015)
    assert permutation_p(three, ["a", "a", "a"]) == 1
    assert permutation_p(torch.zeros(4), list("abcd")) == 1
    assert permutation_p(torch.ones(40), [str(i) for i in range(40)]) == pytest.approx(1 / 10_001)


def test_the_p_value_of_pure_noise_is_uniform():
    draw = torch.Generator().manual_seed(0)
    found = torch.tensor(
        [permutation_p(torch.randn(30, generator=draw), [str(i) for i in range(30)], 500) for _ in range(300)]
    )
    assert abs(float((found < 0.05).double().mean()) - 0.05) < 0.04
    assert abs(float(found.mean()) - 0.5) < 0.06


def test_one_prompt_decides_nothing(folder, tmp_path):
    near, far = features(0, seed=1), features(1.5, seed=2)
    sets = [FeatureSet(["p"] * N, rows.tensors, DETECTORS) for rows in (far, near)]
    found = verdicts(folder("far", sets[0]), folder("near", sets[1]), tmp_path)
    assert found["FVD"].startswith("undecided, ")
    assert found["FVD"].endswith("(no interval: all videos are of one prompt).")
