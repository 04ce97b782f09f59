"""The results of a study as types: what is scored of its rows, and STUDY.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pos.data.shapes.consistency import changed_attributes
from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.score import Difference
from pos.method import Method
from pos.provenance import Cost, Provenance
from pos.spr.rewriting import summarize
from pos.storage import jsonable, read_json


@dataclass(frozen=True)
class NoiseSummary:
    """Noise statistics over the videos of a row; None where nothing was inverted or checked.

    Eq. 4 does not keep unit variance.

    Attributes:
        start_mean, start_std: of the noise that the denoising starts from, means over the videos.
        inverted_mean, inverted_std, inverted_channel_std: of the inverted noise, means over the videos.
        largest_residual: of the inversion method ``fixed_point``.
        reconstruction_psnr, least_reconstruction_psnr: dB, of clips sampled back from their inverted noise.
    """

    start_mean: float
    start_std: float
    inverted_mean: float | None = None
    inverted_std: float | None = None
    inverted_channel_std: list[float] | None = None
    largest_residual: float | None = None
    reconstruction_psnr: float | None = None
    least_reconstruction_psnr: float | None = None

    @classmethod
    def of(cls, provenances: Sequence[Provenance]) -> NoiseSummary:
        inversions = [entry.inversion for entry in provenances if entry.inversion]
        noises = [inversion.noise for inversion in inversions]
        channels = zip(*(noise.channel_std for noise in noises), strict=True)
        residuals = [entry.residual for entry in inversions if entry.residual is not None]
        psnrs = [entry.reconstruction.psnr for entry in inversions if entry.reconstruction]
        return cls(
            start_mean=_mean([entry.start_noise.mean for entry in provenances]),
            start_std=_mean([entry.start_noise.std for entry in provenances]),
            inverted_mean=_mean([noise.mean for noise in noises]),
            inverted_std=_mean([noise.std for noise in noises]),
            inverted_channel_std=[_mean(values) for values in channels] if noises else None,
            largest_residual=max(residuals, default=None),
            reconstruction_psnr=_mean(psnrs),
            least_reconstruction_psnr=min(psnrs, default=None),
        )

    def to_json(self) -> dict[str, Any]:
        return jsonable(asdict(self))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> NoiseSummary:
        psnrs = ("reconstruction_psnr", "least_reconstruction_psnr")  # they may be the text "inf"
        numbers = {name: float(record[name]) for name in psnrs if record[name] is not None}
        return cls(**{**record, **numbers})


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class RewriteSummary:
    """The outcome of rewriting the prompts of a row, each counted once whatever its seeds.

    Attributes:
        prompts: that were rewritten.
        accepted: rewrites that the guard accepted.
        retried: accepted ones after a retry.
        fallbacks: prompts that were kept, by reason.
        instruction_tokens, reply_tokens: that the language model read and wrote.
        changed_attribute: rewrites that change an attribute of Shapes that the prompt names.
    """

    prompts: int
    accepted: int
    retried: int
    fallbacks: dict[str, int]
    instruction_tokens: int
    reply_tokens: int
    changed_attribute: int

    @classmethod
    def of(cls, provenances: Sequence[Provenance]) -> RewriteSummary | None:
        """None where no prompt was rewritten."""
        by_prompt = {entry.id: entry for entry in provenances if entry.rewrite}
        if not by_prompt:
            return None
        changed = [bool(changed_attributes(entry.prompt, entry.rewrite.text)) for entry in by_prompt.values()]
        counts = summarize([entry.rewrite for entry in by_prompt.values()])
        return cls(**counts, changed_attribute=sum(changed))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RewriteSummary:
        return cls(**record)


@dataclass(frozen=True)
class RowResult:
    """One row of a study's table.

    Attributes:
        label: of the row.
        method, guidance: of its pipeline; the guidance is None where the row could not be generated, as is
            all that follows but the metrics.
        metrics: value and 95% interval by name.
        differences: from the first row, by name; None for the first row.
        against: the label of another row and the differences from it; None where there is none.
        cost: mean of a video.
        noise: of its videos.
        rewriting: None where the method does not rewrite.
        videos: the folder of its videos, relative to the study's.
        missing: why a metric, or everything in a row that could not be generated, is missing, by name.
    """

    label: str
    method: Method
    guidance: float | None = None
    metrics: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Difference] | None = None
    against: tuple[str, dict[str, Difference]] | None = None
    cost: Cost | None = None
    noise: NoiseSummary | None = None
    rewriting: RewriteSummary | None = None
    videos: str | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "method": self.method.to_json(),
            "guidance": self.guidance,
            "metrics": _records(self.metrics),
            "differences": None if self.differences is None else _records(self.differences),
            "against": self.against and {"row": self.against[0], "differences": _records(self.against[1])},
            "cost": self.cost and self.cost.to_json(),
            "noise": self.noise and self.noise.to_json(),
            "rewriting": self.rewriting and self.rewriting.to_json(),
            "videos": self.videos,
            "absent": self.missing,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> RowResult:
        differences, against = row["differences"], row.get("against")
        return cls(
            label=row["label"],
            method=Method.from_json(row["method"]),
            guidance=row["guidance"],
            metrics={name: Estimate.from_json(entry) for name, entry in row["metrics"].items()},
            differences=None
            if differences is None
            else {name: Difference.from_json(entry) for name, entry in differences.items()},
            against=against
            and (
                against["row"],
                {name: Difference.from_json(entry) for name, entry in against["differences"].items()},
            ),
            cost=Cost.from_json(row["cost"]) if row["cost"] else None,
            noise=NoiseSummary.from_json(row["noise"]) if row["noise"] else None,
            rewriting=RewriteSummary.from_json(row["rewriting"]) if row["rewriting"] else None,
            videos=row["videos"],
            missing=row["absent"],
        )


def _records(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in estimates.items()}


@dataclass(frozen=True)
class Setting:
    """All that the rows of a study share.

    Attributes:
        benchmark, manifest: name and hash.
        prompts: how many.
        seeds, steps, guidance: of the study's pipeline.
        backbone, weights: name and fingerprint.
        precision, device: that the videos were generated and scored with.
        settings: eta and gamma by variant, and their source.
        detectors: fingerprints by name.
        resamples: of the bootstrap.
        reference: the source of the statistics of real videos; None where there are none.
    """

    benchmark: str
    manifest: str
    prompts: int
    seeds: list[int]
    steps: int
    guidance: float
    backbone: str
    weights: str
    precision: str
    device: str
    settings: dict[str, Any]
    detectors: dict[str, str]
    resamples: int
    reference: str | None = None

    def to_json(self) -> dict[str, Any]:
        return jsonable(asdict(self))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Setting:
        return cls(**{entry.name: record[entry.name] for entry in fields(cls)})


@dataclass(frozen=True)
class StudyResults:
    """The results of a study; ``to_json`` is STUDY.json.

    Attributes:
        study: its name.
        setting: what the rows share.
        rows: by key, the first is what the others are compared with.
        notes: deviations from the manifest and remarks on the real videos, a sentence each.
        figure: the measurements of the study's figure, JSON-able; empty where it has none.
    """

    study: str
    setting: Setting
    rows: dict[str, RowResult]
    notes: list[str]
    figure: dict[str, Any] = field(default_factory=dict)

    @property
    def is_shapes(self) -> bool:
        """Whether the benchmark is the synthetic world, whose numbers compare with no other's."""
        return self.setting.benchmark.startswith("shapes")

    def to_json(self) -> dict[str, Any]:
        """JSON-able: infinite numbers are texts, undefined metrics None."""
        return {
            "study": self.study,
            "setting": self.setting.to_json(),
            "rows": {key: row.to_json() for key, row in self.rows.items()},
            "notes": self.notes,
            "figure": jsonable(self.figure),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StudyResults:
        """Read what ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: a key is missing or its value is of another kind.
        """
        return cls(
            study=record["study"],
            setting=Setting.from_json(record["setting"]),
            rows={key: RowResult.from_json(row) for key, row in record["rows"].items()},
            notes=record["notes"],
            figure=record["figure"],
        )

    @classmethod
    def load(cls, path: Path) -> StudyResults:
        """Read a STUDY.json.

        Raises:
            PosError: it is missing or damaged.
        """
        return read_json(path, cls.from_json)


def check_replaceable(path: Path, setting: Setting) -> None:
    """Refuse to replace results of another backbone or benchmark.

    Args:
        path: of the existing results; there may be none.
        setting: of the results that would replace them.

    Raises:
        PosError: they are of another backbone or benchmark, or damaged.
    """
    if not path.exists():
        return
    existing = read_json(path).get("setting", {})
    for name in ("backbone", "benchmark"):
        if existing.get(name) != getattr(setting, name):
            raise PosError(
                f"{path} holds results of the {name} {existing.get(name)}, and this is "
                f"{getattr(setting, name)}: choose another out=DIR."
            )
