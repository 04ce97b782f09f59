"""Studies on the paper's benchmarks and models, in small: published layouts, annotations, absent weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from pos.config.overrides import prepare
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.detectors.paper import ClipFeatures, I3DLogits, InceptionFeatures
from pos.evaluation.run import make_reference
from pos.networks.detectors.openai_clip import open_clip_tokenizer
from pos.study.reproduce import build_benchmark, build_study, reproduce
from tests.backbones.published import write_modelscope, write_stable_diffusion
from tests.data.annotations import write_coco, write_msrvtt

CONF = Path(__file__).parents[2] / "conf"
ABSENT = "I3D weights: none were converted here."
TINY = {
    "modelscope": ("benchmark=msrvtt", write_modelscope),
    "sd15": ("benchmark=coco", write_stable_diffusion),
}


class Means(nn.Module):
    """Answers with the mean and the deviation of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.flatten(2).mean(-1), x.flatten(2).std(-1)], 1) * self.weight

    encode_image = forward

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:7].float()


def few_detectors(absent: str = ABSENT, fvd: bool = False) -> Detectors:
    """FID's and CLIP's networks alone, or I3D's too."""
    return Detectors(
        fid=InceptionFeatures(Means()),
        clip=ClipFeatures(Means(), open_clip_tokenizer()),
        fvd=I3DLogits(Means()) if fvd else None,
        absent={"fvd": absent} if not fvd else {},
    )


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A pool of three noisy clips."""
    folder, generator = tmp_path / "pool", torch.Generator().manual_seed(0)
    lines = ["video,caption"]
    for index in range(3):
        video = torch.randint(0, 256, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)
        write_lossless(folder / f"{index}.safetensors", video)
        lines.append(f"{index}.safetensors,caption {index} of a clip")
    (folder / "captions.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def configured(tmp_path: Path, clips: Path) -> Callable[..., DictConfig]:
    """The configuration of `reproduce` with a tiny model in its published layout; one step, 16x16 pixels."""

    def make(backbone: str, *overrides: str) -> DictConfig:
        benchmark, write = TINY[backbone]
        if not (tmp_path / backbone).exists():
            write(tmp_path / backbone)
        write_msrvtt(tmp_path / "msrvtt.json", [7010, 7011])
        write_coco(tmp_path / "coco.json", 2)
        chosen = next((word for word in overrides if word.startswith("benchmark=")), benchmark)
        annotations = tmp_path / f"{chosen.removeprefix('benchmark=')}.json"
        words = [
            chosen, f"backbone={backbone}", f"backbone.folder={tmp_path / backbone}", "pool=folder",
            f"pool.path={clips}", f"benchmark.annotations={annotations}", "precision=fp32", "steps=1",
            "inversion_check=false",
            "height=16", "width=16", "batch_size=2", "resamples=20", "report_prompts=1", "device=cpu",
            "retriever.encoder._target_=tests.closed_form.WordCounts", f"out={tmp_path / 'out'}",
            "~retriever.encoder.name", f"cache={tmp_path / 'cache'}", "backbone.acceleration=none",
        ]  # fmt: skip
        rest = [word for word in overrides if not word.startswith("benchmark=")]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("reproduce", prepare([*words, *rest]))

    return make


@pytest.fixture
def few() -> tuple[str, ...]:
    """Overrides for detectors of which some are there."""
    return (
        *(
            f"~detectors.{name}"
            for name in OmegaConf.load(CONF / "detectors" / "paper.yaml")
            if name[0] != "_"
        ),
        "detectors._target_=tests.study.test_paper_benchmarks.few_detectors",
    )


def results(folder: Path, name: str = "table1") -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(), parse_constant=pytest.fail)


def test_a_table_is_written_though_nothing_but_the_model_is_there(configured, tmp_path: Path):
    table = reproduce(configured("modelscope", "rewriter=llama2"))
    found, text = results(tmp_path / "out"), (tmp_path / "out" / "table1.md").read_text()
    assert list(table.rows) == [
        "baseline",
        "+ONA",
        "+SPR",
        "+POS",
        "+POS*",
        "+ONA, diffused",
        "+POS, diffused",
    ]
    for name, reason in {
        "fid": "There are no weights of FID-Inception at weights/detectors/inception.safetensors",
        "fvd": "There are no weights of I3D at weights/detectors/i3d.safetensors",
        "is": "There are no weights of C3D",
        "clipsim": "There are no weights of CLIP ViT-B/32",
    }.items():
        assert reason in found["rows"]["baseline"]["absent"][name]
        assert reason in text
    rows = found["rows"]
    assert [bool(row["cost"]) for row in rows.values()] == [True, True, False, False, False, True, False]
    assert rows["ona"]["cost"]["evaluations"] == 3, "two of sampling with guidance, one of inversion"
    assert "The language model 'meta-llama/Llama-2-7b-chat-hf' is not on this machine" in text
    assert "Llama-2" in rows["pos_star"]["absent"]["evaluations"]
    assert rows["ona"]["method"]["eta"] == 0.2, "as published for ModelScope on MSR-VTT"
    assert rows["spr"]["method"]["gamma"] == 0.04
    assert "eta and gamma: as published" in text
    assert "Shapes" not in text
    assert "Generated with steps 1; the manifest says 50." in text
    assert found["setting"]["manifest"] == build_benchmark(configured("modelscope", "rewriter=llama2")).hash
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Recorded: +ONA" not in report
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out" / "videos").rglob("*.*"))
    reproduce(configured("modelscope", "rewriter=llama2"))
    after = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out" / "videos").rglob("*.*"))
    assert before == after, "nothing is made twice"


def test_metrics_are_measured_as_far_as_there_are_weights_and_references(configured, few, tmp_path: Path):
    cfg = configured(
        "modelscope",
        *few,
        "~study.rows.pos_star",
        "~study.rows.spr",
        "~study.rows.pos",
        "~study.rows.pos_diffused",
    )
    reproduce(cfg)
    rows = results(tmp_path / "out")["rows"]
    for row in rows.values():
        assert row["metrics"].keys() == {"clipsim"}
        assert row["absent"]["fvd"] == ABSENT
        for name in ("fid", "clip_fid"):
            assert "msrvtt ships no statistics of real videos" in row["absent"][name]
    assert rows["ona"]["differences"].keys() == {"clipsim"}

    benchmark, real = build_benchmark(cfg), tmp_path / "real"
    for index, item in enumerate(benchmark.items):
        generator = torch.Generator().manual_seed(index)
        video = torch.randint(0, 256, (80, 3, 40, 40), generator=generator, dtype=torch.uint8)
        write_lossless(real / Path(item.video).with_suffix(".safetensors"), video)
    statistics = tmp_path / "real.safetensors"
    make_reference(benchmark, few_detectors(), statistics, videos=real, cache=tmp_path / "cache")
    again = configured("modelscope", *few, "~study.rows.pos_star", f"reference={statistics}")
    reproduce(again)
    rows = results(tmp_path / "out")["rows"]
    assert rows["ona"]["metrics"].keys() == {"clipsim", "fid", "clip_fid"}
    assert rows["ona"]["metrics"]["fid"]["value"] > 0
    assert rows["spr"]["metrics"] == {}


def test_image_models_on_images(configured, few, tmp_path: Path):
    reproduce(configured("sd15", "study=table3", *few, "+detectors.fvd=true"))
    found = results(tmp_path / "out", "table3")
    rows = found["rows"]
    assert list(rows) == ["baseline", "ona", "spr", "pos", "ona_diffused", "pos_diffused"]
    assert rows["ona"]["method"]["eta"] == 0.05
    assert rows["ona"]["metrics"].keys() == {"clipsim"}
    assert "single images" in rows["ona"]["absent"]["fvd"]
    assert (found["setting"]["backbone"], found["setting"]["benchmark"]) == ("sd15", "coco")


@pytest.mark.parametrize(
    ("backbone", "arguments", "said"),
    [
        ("sd15", ["benchmark=msrvtt"], "msrvtt looks at 16 frames of a video, and sd15 makes images"),
        (
            "modelscope",
            ["benchmark=coco"],
            "coco is a benchmark of images, and modelscope makes videos of 16",
        ),
        ("modelscope", ["study=table3"], "table3 is a study of image models, and modelscope makes videos"),
        ("modelscope", ["detectors=shapes"], "take videos of 64x64, and modelscope makes 16x16"),
        ("modelscope", ["benchmark.size=9"], "gives 2 prompts"),
        (
            "modelscope",
            ["~study.rows.baseline", "~study.rows.ona", "~study.rows.ona_diffused"],
            "No row of table1 can be generated",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_made(
    configured, tmp_path: Path, backbone: str, arguments: list[str], said: str
):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Hydra wraps what a constructor raises
        reproduce(configured(backbone, *arguments))
    errors = [error for error in (raised.value, raised.value.__cause__) if isinstance(error, PosError)]
    assert errors, raised.value
    assert said in str(errors[0])
    assert not (tmp_path / "out").exists()


def test_a_manifest_stands_in_the_benchmarks_place(configured, tmp_path: Path):
    benchmark = build_benchmark(configured("modelscope", "benchmark.size=1"))
    path = tmp_path / "pinned.json"
    benchmark.save(path)
    study = build_study(configured("modelscope", f"manifest={path}"))
    assert [prompt.id for prompt in study.benchmark.prompts] == [item.id for item in benchmark.items]
    for arguments, said in (
        (["benchmark=coco", f"manifest={path}"], "is of msrvtt: choose benchmark=msrvtt"),
        ([f"manifest={path}", "benchmark.size=1"], "benchmark.size=1 cannot cut a manifest"),
    ):
        with pytest.raises(PosError, match=said):
            build_study(configured("modelscope", *arguments))


@pytest.mark.parametrize(
    ("backbone", "benchmark", "expected"),
    [
        ("modelscope", "msrvtt", (0.2, 0.04, 0.2, 0.1)),
        ("modelscope", "ucf101", (0.2, 1.0, 0.5, 0.1)),
        ("scvideo", "msrvtt", (0.5, 0.1, 0.5, 0.1)),
        ("scvideo", "ucf101", (0.5, 1.0, 0.5, 0.5)),
        ("videocrafter", "msrvtt", (0.3, 0.1, 0.2, 0.1)),
        ("videocrafter_v09", "ucf101", (0.3, 0.1, 0.2, 0.1)),
        ("tuneavideo_retrained", "msrvtt", (0.1, 0.5, 0.2, 0.1)),
        ("sd15", "coco", (0.05, 0.4, 0.2, 0.1)),
        ("sdxl", "coco", (0.05, 0.4, 0.2, 0.1)),
        ("shapes", "shapes", (0.1, 0.5, 0.2, 0.5)),
        ("videocrafter_vc2_512", "msrvtt", (0.3, 0.1, 0.2, 0.1)),
    ],
)
def test_published_settings_are_chosen_by_backbone_and_benchmark(
    backbone: str, benchmark: str, expected: tuple[float, ...]
):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = [f"backbone={backbone}", f"benchmark={benchmark}"]
        cfg = compose("reproduce", chosen)
        ours = compose("reproduce", [*chosen, "settings.eta=7", "study.rows.pos.method.gamma=0.9"])
    settings = cfg.settings
    assert (settings.eta, settings.gamma, settings.eta_star, settings.gamma_star) == expected
    rows = cfg.study.rows
    assert (rows.ona.method.eta, rows.spr.method.gamma) == expected[:2]
    assert (rows.pos_star.method.eta, rows.pos_star.method.gamma) == expected[2:]
    unknown = backbone == "videocrafter_vc2_512"
    assert ("since none are known" in settings.source) == unknown
    assert ("arXiv 2311.00949" in settings.source) == (not unknown and backbone != "shapes")
    assert (ours.study.rows.ona.method.eta, ours.study.rows.pos.method.gamma) == (7, 0.9)
