"""The hash of a pipeline's settings, and the provenance of its videos."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pos.generation import make_requests
from pos.method import Method
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Check
from pos.pipeline import Pipeline
from pos.provenance import Cost, Provenance, Request, Seconds
from tests.closed_form import ColourBackbone
from tests.known import ROWS, known_pipeline, known_provenance


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Pipeline]:
    """A pipeline of known parts; its caches are the test's own."""
    return lambda *arguments, **changes: known_pipeline(tmp_path / "cache", *arguments, **changes)


HASHES = {
    "baseline": "c73ef4a38ff065b3",
    "ona": "c4c177cd559614ac",
    "spr": "f9ba8d20c24b58ce",
    "pos": "cb95faf5655aa38e",
    "pos_star": "ddb311c319fcbdfe",
}
"""Of the known pipelines: another hash would lose every video that users have generated."""
LOWERED = "806a43cd2c68910d"
"""Of the known pipeline with ONA and a check that lowers eta below 99 dB."""
KEYS = [
    "prompt", "rewritten_prompt", "rewrite", "neighbours", "clips", "id", "seed", "inversion", "eta",
    "start_noise", "evaluations", "seconds", "method", "backbone", "native", "steps", "guidance",
    "negative_prompt", "config", "versions",
]  # fmt: skip
"""Of the file beside a video, in its order."""


class TestHash:
    @pytest.mark.parametrize("key", ROWS)
    def test_it_is_the_same_in_every_version(self, make, key: str):
        assert make(ROWS[key]).config_hash == HASHES[key]

    def test_it_is_the_same_with_a_check_that_lowers_eta(self, make):
        check = Check(min_psnr=99.0, lower_eta=True)
        assert make(ROWS["ona"], inversion_check=check).config_hash == LOWERED

    @pytest.mark.parametrize(
        "changes",
        [
            *({"method": method} for key, method in ROWS.items() if key != "pos"),
            {"method": replace(ROWS["pos"], eta=0.6)},
            {"method": replace(ROWS["pos"], eta=math.inf)},
            {"method": replace(ROWS["pos"], gamma=0.6)},
            {"method": replace(ROWS["pos"], inversion="printed")},
            {"method": replace(ROWS["pos"], variance_preserving=True)},
            {"method": replace(ROWS["pos"], ddim_eta=0.5)},
            {"steps": 5},
            {"guidance": 2.0},
            {"frames": 3},
            {"height": 5},
            {"width": 5},
            {"negative_prompt": "blurry"},
            {"backbone": ColourBackbone(size=5), "height": 4, "width": 4},
            {"backbone": ColourBackbone(precision="bf16")},
        ],
        ids=lambda changes: ", ".join(
            changes
        ),  # no addresses: every worker of pytest-xdist names a test alike
    )
    def test_whatever_changes_a_video_changes_the_hash(self, make, changes: dict):
        assert make(**{"method": ROWS["pos"], **changes}).config_hash != make(ROWS["pos"]).config_hash

    def test_so_do_pool_encoder_rewriter_and_npnet_where_they_are_used(self, make):
        def changed(method: Method) -> list[bool]:
            before = make(method).config_hash
            hashes = []
            for path, attribute in (
                ("retriever.pool", "fingerprint"),
                ("retriever.encoder", "fingerprint"),
                ("rewriter", "seed"),
            ):
                pipeline = make(method)
                part = pipeline
                for name in path.split("."):
                    part = getattr(part, name)
                setattr(part, attribute, 7)
                hashes.append(pipeline.config_hash != before)
            other = NPNet(ColourBackbone(), guidance=3.0)
            return [*hashes, make(method, npnet=other).config_hash != before]

        assert changed(ROWS["baseline"]) == [False, False, False, False]
        assert changed(ROWS["ona"]) == [True, True, False, False]
        assert changed(ROWS["spr"]) == [True, True, True, False]
        assert changed(ROWS["pos_star"]) == [True, True, True, True]

    def test_rows_that_make_the_same_videos_share_them(self, make):
        plain = make(ROWS["baseline"]).config_hash
        assert make(replace(ROWS["pos"], eta=0, gamma=0)).config_hash == plain
        assert make(replace(ROWS["pos"], eta=0)).config_hash == make(ROWS["spr"]).config_hash
        assert make(replace(ROWS["pos"], gamma=0)).config_hash == make(ROWS["ona"]).config_hash

    def test_what_changes_no_video_does_not(self, make, tmp_path: Path):
        same = make(ROWS["pos"], batch_size=3, cache_dir=tmp_path / "elsewhere", guidance=1, steps=4)
        assert (
            same.config_hash == make(ROWS["pos"], guidance=1.0).config_hash == make(ROWS["pos"]).config_hash
        )
        whole = make(replace(ROWS["pos"], eta=1)).config_hash
        assert whole == make(replace(ROWS["pos"], eta=1.0)).config_hash


class TestProvenance:
    @pytest.mark.parametrize("key", ROWS)
    def test_holds_everything_and_is_json(self, make, key: str):
        method = replace(ROWS[key], eta=math.inf if ROWS[key].eta else 0.0)
        (sample,) = make(method, negative_prompt="blurry").generate([Request("red ring", 3, "test-1")])
        made = json.loads(json.dumps(sample.provenance.to_json(), allow_nan=False))
        rewrites, inverts = key in ("spr", "pos", "pos_star"), key in ("ona", "pos")
        assert (made["prompt"], made["seed"], made["id"]) == ("red ring", 3, "test-1")
        assert made["method"]["eta"] == ("inf" if ROWS[key].eta else 0.0)
        assert made["method"]["gamma"] == (0.5 if rewrites else 0.0)
        assert made["method"]["rewritten_steps"] == (2 if rewrites else 0)
        assert made["rewritten_prompt"] == ("blue ring" if rewrites else None)
        assert (made["rewrite"] or {}).get("accepted") == (True if rewrites else None)
        assert len(made["neighbours"]) == (2 if rewrites else int(inverts))
        if made["neighbours"]:
            nearest = made["neighbours"][0]
            assert nearest.pop("score") == pytest.approx(1 / math.sqrt(2 * 5), abs=1e-5)
            assert nearest == {"index": 0, "id": "red", "caption": "a wall of red paint"}
        assert (made["inversion"] is not None) == inverts
        assert made["evaluations"] == 4 + 4 * (inverts or key == "pos_star")
        assert set(made["seconds"]) == {"sampling", "inversion", "rewriting"}
        assert {"mean", "std", "channel_std"} <= set(made["start_noise"])
        assert len(made["start_noise"]["channel_std"]) == 3
        assert (made["steps"], made["guidance"], made["negative_prompt"]) == (4, 1.0, "blurry")
        assert made["backbone"] == "colour"
        assert made["config"] == make(method, negative_prompt="blurry").config_hash
        assert set(made["versions"]) == {"pos", "torch", "diffusers", "transformers"}

    def test_the_residual_of_a_fixed_point_is_reported(self, make):
        pipeline = make(replace(ROWS["ona"], inversion="fixed_point"), steps=100)
        (sample,) = pipeline.generate(make_requests(["red"]))
        inversion = sample.provenance.inversion
        assert 0 < inversion.residual < 1e-3
        assert sample.provenance.evaluations == 100 + inversion.evaluations > 300

    @pytest.mark.parametrize("key", ROWS)
    def test_it_is_read_as_it_was_written(self, make, key: str):
        method = replace(ROWS[key], eta=math.inf if ROWS[key].eta else 0.0)
        check = Check(min_psnr=0.0)
        (sample,) = make(method, inversion_check=check).generate([Request("red ring", 3, "test-1", "ring")])
        record = json.loads(json.dumps(sample.provenance.to_json(), allow_nan=False))
        assert list(record) == KEYS
        assert Provenance.from_json(record) == sample.provenance
        assert Provenance.from_json(record).to_json() == record

    def test_every_field_is_read_as_it_was_written(self):
        provenance = known_provenance()
        record = json.loads(json.dumps(provenance.to_json(), allow_nan=False))
        assert (
            record["inversion"]["reconstruction"]["psnr"] == record["eta"] == record["method"]["eta"] == "inf"
        )
        assert Provenance.from_json(record) == provenance

    def test_the_form_of_earlier_versions_is_read(self):
        record = known_provenance().to_json()
        record["rewrite"]["heard"] = not record["rewrite"].pop("answered")
        found = Provenance.from_json(record)
        assert (found.answered, found.rewrite.answered) == (False, False)
        assert found.to_json()["rewrite"]["answered"] is False
        for name in ("heard", "instruction_tokens", "reply_tokens"):
            del record["rewrite"][name]
        for name in ("eta", "native", "clips"):
            del record[name]
        for name in ("dither", "neighbour", "clips", "vary", "signal", "level"):
            del record["method"][name]
        for noise in (record["start_noise"], record["inversion"]):
            del noise["ks_distance"]
        del record["inversion"]["reconstruction"]
        found = Provenance.from_json(record)
        assert (found.answered, found.eta, found.settings.native) == (True, math.inf, None)
        assert found.clips == found.neighbours[:1]
        assert found.inversion.reconstruction is found.inversion.noise.ks_distance is None

    def test_what_was_not_rewritten_needs_no_answer(self):
        assert known_provenance(rewrite=None).answered
        assert known_provenance(rewrite=None).rewritten_prompt is None

    def test_texts_of_a_table(self):
        assert known_provenance().texts == ["red ring", "blue ring", "a wall of red paint"]
        assert known_provenance(rewrite=None, neighbours=[]).texts == ["red ring", "", ""]


def test_cost_is_the_mean_over_videos_of_all_stages():
    cost = Cost.of(
        [
            known_provenance(evaluations=20, seconds=Seconds(1.0, 0.5, 0.0)),
            known_provenance(evaluations=30, seconds=Seconds(2.0, 0.0, 0.5)),
        ]
    )
    assert cost.to_json() == {
        "evaluations": 25.0,
        "seconds": 2.0,
        "seconds_sampling": 1.5,
        "seconds_inversion": 0.25,
        "seconds_rewriting": 0.25,
    }
    assert Cost.from_json(cost.to_json()) == cost
