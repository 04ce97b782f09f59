"""Detectors, which turn videos into features, and the set of features that all metrics are computed from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.metrics.attributes import named
from pos.metrics.clipsim import clip_similarity
from pos.metrics.fid import FRAMES
from pos.networks.classifiers import FrameClassifier, load_classifier
from pos.networks.shapes_clip import ShapesCLIP, load_clip
from pos.networks.tokenizer import load_tokenizer
from pos.storage import asset, content_hash, write_atomic

_CPU_BATCH = (
    8  # activations small enough to be taken from the heap again, not mapped anew: two fifths less time
)


@dataclass(frozen=True)
class FeatureSet:
    """What the detectors say of a set of n videos; the metrics are functions of it and of reference
    statistics.

    Attributes:
        ids: one per video, naming its prompt: equal ids are several seeds of one prompt.
        tensors: rows by name, n each:
            ``fid`` (n, 5, d) and ``clip`` (n, 5, d), features of FID's frames;
            ``fvd`` (n, d), features of the video;
            ``classes`` (n, c), class probabilities;
            ``clipsim`` (n,), mean cosine of frames and prompt;
            ``judged`` and ``named`` int64 (n, 6), attributes that the judge sees and that the prompt names.
        detectors: fingerprint of each detector's weights; sets of other weights cannot be compared.
    """

    ids: list[str]
    tensors: dict[str, Tensor]
    detectors: dict[str, str]

    def __len__(self) -> int:
        return len(self.ids)

    def save(self, path: Path) -> None:
        """Write one safetensors file with ids and fingerprints in its metadata."""
        save_tensors(path, self.tensors, {"ids": self.ids, "detectors": self.detectors})

    @classmethod
    def load(cls, path: Path) -> FeatureSet:
        """
        Raises:
            PosError: the file is absent, cut short or holds no features.
        """
        tensors, entries = load_tensors(path, ("ids", "detectors"))
        return cls(entries["ids"], tensors, entries["detectors"])


def save_tensors(path: Path, tensors: dict[str, Tensor], entries: dict[str, object]) -> None:
    """Write tensors and JSON-able metadata entries to one safetensors file."""
    metadata = {name: json.dumps(entry) for name, entry in entries.items()}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(path, lambda temporary: save_file(contiguous, temporary, metadata))


def load_tensors(path: Path, names: Sequence[str]) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a safetensors file and the JSON metadata entries of these names.

    Raises:
        PosError: the file is absent, cut short or lacks an entry.
    """
    if not path.is_file():
        raise PosError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except SafetensorError as error:
        raise PosError(f"{path} is not a readable safetensors file: {error}.") from error
    absent = [name for name in names if name not in metadata]
    if absent:
        raise PosError(f"{path} lacks the entries {', '.join(absent)}: it was not written by pos.metrics.")
    return tensors, {name: json.loads(metadata[name]) for name in names}


class ShapesDetectors(nn.Module):
    """The detectors of the Shapes benchmark, all trained by this project: videos and their prompts to
    features.

    Args:
        fid: a frame network; its penultimate features are FID's.
        fvd: a video network; its penultimate features are FVD's.
        inception: a video network with the single head ``class`` (shape x motion), for the inception score.
        clip: the scoring CLIP, trained apart from the one that conditions the video model.
        tokenizer: of the CLIP; prompts longer than its context are truncated.
        judge: a video network with a head for each attribute; shares no weights with the others.

    Attributes:
        frames, height, width: the only size of videos it takes.
        fingerprints: detector name to hash of its weights.
    """

    frames, height, width = 16, 64, 64

    def __init__(
        self,
        fid: FrameClassifier,
        fvd: FrameClassifier,
        inception: FrameClassifier,
        clip: ShapesCLIP,
        tokenizer: PreTrainedTokenizerFast,
        judge: FrameClassifier,
    ) -> None:
        super().__init__()
        self.fid, self.fvd, self.inception, self.clip, self.judge = fid, fvd, inception, clip, judge
        self.tokenizer = tokenizer
        self.fingerprints = {name: _fingerprint(network) for name, network in self.named_children()}
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # convolutions take a third less time on a CPU

    @torch.inference_mode()
    def forward(self, videos: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Videos uint8 (b, 16, 3, 64, 64) and their original prompts to the tensors of a ``FeatureSet``, on
        the CPU.

        Raises:
            PosError: videos of another size.
        """
        expected = (self.frames, 3, self.height, self.width)
        if videos.dtype != torch.uint8 or videos.shape[1:] != expected:
            raise PosError(
                f"The detectors of Shapes take uint8 videos {expected} (frames, channels, height, width), "
                f"not {videos.dtype} {tuple(videos.shape[1:])}."
            )
        chunk = _CPU_BATCH if videos.device.type == "cpu" else len(videos)
        parts = [
            self._detect(videos[start : start + chunk], prompts[start : start + chunk])
            for start in range(0, len(videos), chunk)
        ]
        return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}

    def _detect(self, videos: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        # CLIPSIM reads every frame and CLIP-FID some of them, before normalisation: both from one pass of the
        # tower.
        embeddings = self.clip.project(self.clip.tower(videos))
        judged = self.judge(videos)
        return {
            "fid": self.fid.features(videos[:, list(FRAMES)]),
            "clip": embeddings[:, list(FRAMES)],
            "fvd": self.fvd.features(videos),
            "classes": self.inception(videos)["class"].softmax(-1),
            "clipsim": clip_similarity(embeddings, self._encode_text(prompts, videos.device)),
            "judged": torch.stack([judged[name].argmax(-1) for name in ATTRIBUTES], dim=1),
            "named": named(prompts).to(videos.device),
        }

    def _encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        context = self.clip.text.config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=context, return_tensors="pt"
        ).to(device)
        return self.clip.encode_text(tokens["input_ids"], tokens["attention_mask"])


def shapes_detectors() -> ShapesDetectors:
    """The detectors shipped with the package, on the CPU."""
    networks = {
        name: load_classifier(asset(f"shapes/{file}.safetensors"))
        for name, file in {"fid": "fid", "fvd": "fvd", "inception": "is", "judge": "judge"}.items()
    }
    tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
    return ShapesDetectors(
        clip=load_clip(asset("shapes/clip_score.safetensors")), tokenizer=tokenizer, **networks
    )


def _fingerprint(network: nn.Module) -> str:
    return content_hash(*(part for name, tensor in network.state_dict().items() for part in (name, tensor)))
