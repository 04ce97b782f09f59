"""Requests to the pipeline, the videos that it returns, and the provenance that is stored with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from pos.backbones.base import Defaults
from pos.method import Method
from pos.ona.guide import Guide
from pos.ona.inversion import Inverted
from pos.ona.mixture import NoiseStatistics
from pos.ona.reconstruction import Reconstruction
from pos.retrieval import Neighbour
from pos.spr.engines import current_names
from pos.spr.rewriting import Rewrite
from pos.storage import jsonable


@dataclass(frozen=True)
class Request:
    """One video to generate.

    Attributes:
        prompt: the text.
        seed: of the base noise.
        id: names the prompt; equal ids and seeds get the same base noise under every method.
        label: names the video's files together with the seed; None takes the id.
    """

    prompt: str
    seed: int
    id: str
    label: str | None = None


@dataclass(frozen=True)
class Plan:
    """A request and what was prepared for it before the denoising."""

    request: Request
    neighbours: list[Neighbour]
    rewrite: Rewrite | None
    guide: Guide | None


@dataclass(frozen=True)
class InversionRecord:
    """How the guided noise of a video was obtained (Eq. 2), without the noise itself.

    Attributes:
        evaluations: of the network.
        residual: of the method ``fixed_point``; None for the others.
        seconds: that the inversion took when it was computed.
        noise: statistics of the inverted noise.
        reconstruction: of the clip from its noise; None where it was not checked.
    """

    evaluations: int
    residual: float | None
    seconds: float
    noise: NoiseStatistics
    reconstruction: Reconstruction | None

    @classmethod
    def of(cls, found: Inverted) -> InversionRecord:
        return cls(found.evaluations, found.residual, found.seconds, found.statistics, found.reconstruction)

    def to_json(self) -> dict[str, Any]:
        return {
            "evaluations": self.evaluations,
            "residual": self.residual,
            "seconds": self.seconds,
            **asdict(self.noise),
            "reconstruction": asdict(self.reconstruction) if self.reconstruction else None,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> InversionRecord:
        noise = dict(record)
        evaluations, residual, seconds = (noise.pop(name) for name in ("evaluations", "residual", "seconds"))
        check = noise.pop("reconstruction", None)
        if check:  # its PSNR may be the text "inf"
            check = Reconstruction(**{name: float(value) for name, value in check.items()})
        return cls(evaluations, residual, seconds, NoiseStatistics(**noise), check)


@dataclass(frozen=True)
class Seconds:
    """Seconds that the stages of one video take when nothing is cached."""

    sampling: float
    inversion: float
    rewriting: float


@dataclass(frozen=True)
class PipelineSettings:
    """What all videos of a pipeline share.

    Attributes:
        method: what is done to noise and text.
        rewritten_steps: m of Eq. 8.
        backbone: its name.
        native: what the backbone was trained for; None in files written before it was recorded.
        steps, guidance, negative_prompt: of the sampling.
        config: ``Pipeline.config_hash``.
        versions: of the packages by name.
    """

    method: Method
    rewritten_steps: int
    backbone: str
    native: Defaults | None
    steps: int
    guidance: float
    negative_prompt: str
    config: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return dict(self._record)

    @cached_property
    def _record(self) -> dict[str, Any]:
        """Made once: it stands beside every video."""
        record = asdict(self)
        record["method"] |= {"rewritten_steps": record.pop("rewritten_steps")}
        return jsonable(record)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PipelineSettings:
        method, native = dict(record["method"]), record.get("native")
        same = ("backbone", "steps", "guidance", "negative_prompt", "config", "versions")
        return cls(
            rewritten_steps=method.pop("rewritten_steps"),
            method=Method.from_json(method),
            native=Defaults(**native) if native else None,
            **{name: record[name] for name in same},
        )


@dataclass(frozen=True)
class Provenance:
    """All that is recorded of one video; ``to_json`` is the file beside it.

    Attributes:
        prompt, id, seed: of the request.
        rewrite: of the prompt; None where the method does not rewrite.
        neighbours: the retrieved pairs, the nearest first.
        clips: that guide the noise; none where the noise is not guided by clips.
        inversion: of the nearest clip; None where the method does not invert.
        eta: the weight of this video's guided noise in Eq. 4.
        start_noise: statistics of the noise that the denoising started from.
        evaluations: of networks, those of the inversion included.
        seconds: by stage.
        settings: those of the pipeline.
    """

    prompt: str
    id: str
    seed: int
    rewrite: Rewrite | None
    neighbours: list[Neighbour]
    clips: list[Neighbour]
    inversion: InversionRecord | None
    eta: float
    start_noise: NoiseStatistics
    evaluations: int
    seconds: Seconds
    settings: PipelineSettings

    @classmethod
    def of(
        cls, plan: Plan, start_noise: NoiseStatistics, eta: float, evaluations: int, sampling: float,
        settings: PipelineSettings,
    ) -> Provenance:  # fmt: skip
        """The provenance of one video.

        Args:
            plan: its request and what was prepared for it.
            start_noise: statistics of the noise that its denoising started from.
            eta: the weight of the guided noise in it.
            evaluations: of networks, without those of the inversion.
            sampling: seconds from the noise to the video.
            settings: those of the pipeline.
        """
        guide, rewrite = plan.guide, plan.rewrite
        inverted = guide.inverted if guide else None
        return cls(
            prompt=plan.request.prompt,
            id=plan.request.id,
            seed=plan.request.seed,
            rewrite=rewrite,
            neighbours=plan.neighbours,
            clips=guide.clips if guide else [],
            inversion=InversionRecord.of(inverted) if inverted else None,
            eta=eta,
            start_noise=start_noise,
            evaluations=evaluations + (inverted.evaluations if inverted else 0),
            seconds=Seconds(
                sampling,
                inversion=inverted.seconds if inverted else 0.0,
                rewriting=rewrite.seconds if rewrite else 0.0,
            ),
            settings=settings,
        )

    @property
    def rewritten_prompt(self) -> str | None:
        """C^r: the rewrite, or the prompt itself where no rewrite was accepted; None without rewriting."""
        return self.rewrite.text if self.rewrite else None

    @property
    def texts(self) -> list[str]:
        """The prompt, its rewrite and the retrieved caption; empty where there is none."""
        retrieved = self.neighbours[0].caption if self.neighbours else ""
        return [self.prompt, self.rewritten_prompt or "", retrieved]

    @property
    def answered(self) -> bool:
        """False where the prompt was kept because the language model did not answer: ask it again."""
        return self.rewrite is None or self.rewrite.answered

    def to_json(self) -> dict[str, Any]:
        """JSON-able: infinite numbers are the text "inf"."""
        own = {
            "prompt": self.prompt,
            "rewritten_prompt": self.rewritten_prompt,
            "rewrite": asdict(self.rewrite) if self.rewrite else None,
            "neighbours": [asdict(neighbour) for neighbour in self.neighbours],
            "clips": [asdict(clip) for clip in self.clips],
            "id": self.id,
            "seed": self.seed,
            "inversion": self.inversion.to_json() if self.inversion else None,
            "eta": self.eta,
            "start_noise": asdict(self.start_noise),
            "evaluations": self.evaluations,
            "seconds": asdict(self.seconds),
        }
        return jsonable(own) | self.settings.to_json()

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Provenance:
        """Read what ``to_json`` wrote, in this version or an earlier one; other keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a key is missing or its value is of another kind.
        """
        settings = PipelineSettings.from_json(record)
        return cls(
            prompt=record["prompt"],
            id=record["id"],
            seed=record["seed"],
            rewrite=Rewrite(**current_names(record["rewrite"])) if record["rewrite"] else None,
            neighbours=[Neighbour(**neighbour) for neighbour in record["neighbours"]],
            clips=_clips(record, settings.method),
            inversion=InversionRecord.from_json(record["inversion"]) if record["inversion"] else None,
            eta=float(record.get("eta", settings.method.eta)),
            start_noise=NoiseStatistics(**record["start_noise"]),
            evaluations=record["evaluations"],
            seconds=Seconds(**record["seconds"]),
            settings=settings,
        )


def _clips(record: Mapping[str, Any], method: Method) -> list[Neighbour]:
    """The clips that guided the noise; older records name the nearest neighbour alone."""
    found = record.get("clips", record["neighbours"][:1] if method.inverts else [])
    return [Neighbour(**clip) for clip in found]


@dataclass(frozen=True)
class Sample:
    """A generated video, uint8 (f, c, height, width), and its provenance."""

    request: Request
    video: Tensor
    provenance: Provenance


@dataclass(frozen=True)
class Cost:
    """Mean cost of a video when nothing is cached: a stage counts the time it took when it was computed.

    Attributes:
        evaluations: of networks.
        seconds: of all stages.
        seconds_sampling, seconds_inversion, seconds_rewriting: of each.
    """

    evaluations: float
    seconds: float
    seconds_sampling: float
    seconds_inversion: float
    seconds_rewriting: float

    @classmethod
    def of(cls, provenances: Sequence[Provenance]) -> Cost:
        """The mean over the videos of these provenances, at least one."""
        count = len(provenances)
        evaluations = sum(entry.evaluations for entry in provenances) / count
        seconds = zip(*(astuple(entry.seconds) for entry in provenances), strict=True)
        stages = [sum(values) / count for values in seconds]
        return cls(evaluations, sum(stages), *stages)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, float]) -> Cost:
        return cls(**record)
