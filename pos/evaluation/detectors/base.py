"""Detectors, which turn the frames of videos into features; one set of them serves all metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from pos.errors import PosError
from pos.evaluation.frames import GENERATED, Frames
from pos.metrics.accuracy import named
from pos.metrics.clipsim import clip_similarity
from pos.metrics.consistency import frame_consistency
from pos.metrics.diversity import video_embedding
from pos.metrics.registry import registered
from pos.storage import content_hash

_CPU_BATCH = (
    8  # activations small enough to be taken from the heap again, not mapped anew: two fifths less time
)
_STILL = "The clips of this benchmark are single images: there is no motion to score."
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}  # of convolutions: a third less time on a CPU


class Detector(nn.Module, ABC):
    """A network with its preprocessing and the features that are read from it.

    Attributes:
        network: frozen, in evaluation mode.
        fingerprint: hash of its weights; features of other weights cannot be compared.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        state = network.state_dict()
        self.fingerprint = content_hash(*(part for entry in state.items() for part in entry))
        for parameter in network.parameters():
            if parameter.dim() in _LAYOUTS:
                parameter.data = parameter.data.to(memory_format=_LAYOUTS[parameter.dim()])

    @abstractmethod
    def prepare(self, frames: Tensor) -> Tensor:
        """Frames of one video, uint8 (k, 3, h, w) in RGB, to the network's input."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of b videos (b, ...), as ``prepare`` makes them, to features (b, ...)."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.inference_mode()
    def detect(self, videos: Sequence[Tensor]) -> Tensor:
        """Frames of b videos, uint8 (k, 3, h, w) each, to features (b, ...) on the CPU.

        Videos may differ in size where the network takes any, as those of the paper's metrics do. On
        a GPU too, convolutions run in float32, where the default is TF32 with a mantissa of ten bits.
        """
        inputs = torch.stack([self.prepare(video) for video in videos]).to(self.device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self(inputs).cpu()


class TextDetector(Detector):
    """A CLIP: it embeds frames (b, k, d), not normalised, and texts."""

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to embeddings (b, d), on the CPU; text beyond the context is cut, with a warning."""


class Detectors(nn.Module):
    """The detectors of a benchmark: videos and their prompts to the tensors of a ``FeatureSet``.

    Any of them may be missing; its rows, and the metrics that read them, are then missing too.

    Args:
        fid: of images; its features (b, k, d) are FID's.
        clip: of images and texts, for CLIP-FID and CLIPSIM.
        fvd: of clips; its features (b, d) are FVD's.
        inception: of clips, to class probabilities (b, classes) for the inception score.
        judge: of Shapes' attributes (``pos.evaluation.detectors.shapes.Judge``).
        videomae: of clips; its features (b, d) are those of another FVD.
        size: (height, width) of the only videos that are taken; None takes any.
        absent: why a detector or a row of features is missing, one sentence, by its name.
        extra: names of the metrics that are requested beyond the paper's (``pos.metrics.registry``).

    Attributes:
        fingerprints: hash of the weights by detector.
    """

    def __init__(
        self,
        *,
        fid: Detector | None = None,
        clip: TextDetector | None = None,
        fvd: Detector | None = None,
        inception: Detector | None = None,
        judge: Detector | None = None,
        videomae: Detector | None = None,
        size: tuple[int, int] | None = None,
        absent: Mapping[str, str] | None = None,
        extra: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.fid, self.clip, self.fvd, self.inception, self.judge = fid, clip, fvd, inception, judge
        self.videomae = videomae
        self.size, self.absent, self.extra = size, dict(absent or {}), sorted(extra)
        self.fingerprints = {name: detector.fingerprint for name, detector in self.named_children()}

    def for_frames(self, frames: Frames) -> Detectors:
        """The detectors of images alone where a clip is one frame, since an image has no motion."""
        if frames.clip > 1:
            return self
        moving = [name for name in ("fvd", "inception", "videomae") if getattr(self, name) is not None]
        absent = {**self.absent, **dict.fromkeys([*moving, "consistency"], _STILL)}
        return Detectors(fid=self.fid, clip=self.clip, size=self.size, absent=absent, extra=self.extra)

    @torch.inference_mode()
    def forward(
        self, videos: Tensor | Sequence[Tensor], prompts: Sequence[str], frames: Frames = GENERATED
    ) -> dict[str, Tensor]:
        """Videos and their original prompts to the tensors of a ``FeatureSet``, on the CPU.

        Args:
            videos: uint8 (f, 3, h, w) each, RGB; CLIPSIM reads every frame.
            prompts: one a video.
            frames: what the other metrics read.

        Raises:
            PosError: videos of a size that the detectors do not take, or with too few frames.
        """
        self._check(videos, frames)
        chunk = self._chunk(len(videos))
        parts = [
            self._detect(videos[start : start + chunk], prompts[start : start + chunk], frames)
            for start in range(0, len(videos), chunk)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @torch.inference_mode()
    def compared(self, videos: Tensor | Sequence[Tensor], frames: Frames) -> dict[str, Tensor]:
        """The features whose statistics are compared, ``fid``, ``clip``, ``fvd`` and ``videomae``; of real
        videos no others are needed.

        Raises:
            PosError: as ``forward``.
        """
        self._check(videos, frames)
        chunk = self._chunk(len(videos))
        chunks = [videos[start : start + chunk] for start in range(0, len(videos), chunk)]
        clip = frames.clip_indices
        read = {"fid": frames.images, "clip": frames.images, "fvd": clip, "videomae": clip}
        return {
            name: torch.cat([detector.detect(_frames(part, read[name])) for part in chunks])
            for name, detector in self.named_children()
            if name in read
        }

    def _detect(self, videos: Sequence[Tensor], prompts: Sequence[str], frames: Frames) -> dict[str, Tensor]:
        rows = {}
        if self.fid is not None:
            rows["fid"] = self.fid.detect(_frames(videos, frames.images))
        if self.clip is not None:  # CLIPSIM reads every frame and CLIP-FID some of them: one pass for both
            embeddings = self.clip.detect(videos)
            rows["clip"] = embeddings[:, list(frames.images)]
            rows["clipsim"] = clip_similarity(embeddings, self.clip.encode_text(prompts))
            rows |= self._extra_rows(embeddings)
        clips = _frames(videos, frames.clip_indices)
        if self.fvd is not None:
            rows["fvd"] = self.fvd.detect(clips)
        if self.inception is not None:
            rows["classes"] = self.inception.detect(clips)
        if self.judge is not None:
            rows["judged"] = self.judge.detect(clips)
            rows["named"] = named(prompts)
        if self.videomae is not None:
            rows["videomae"] = self.videomae.detect(clips)
        return rows

    def _extra_rows(self, embeddings: Tensor) -> dict[str, Tensor]:
        rows = {}
        read = {
            metric.row for metric in registered("extra") if metric.name in self.extra
        } - self.absent.keys()
        if "consistency" in read:
            rows["consistency"] = frame_consistency(embeddings)
        if "embedding" in read:
            rows["embedding"] = video_embedding(embeddings)
        return rows

    def _chunk(self, count: int) -> int:
        on_cpu = all(detector.device.type == "cpu" for detector in self.children())
        return min(_CPU_BATCH, count) if on_cpu else count

    def _check(self, videos: Sequence[Tensor], frames: Frames) -> None:
        lengths = sorted({len(video) for video in videos})
        if len(lengths) > 1:
            raise PosError(f"Videos of one set must have one number of frames, and there are {lengths}.")
        for video in videos:
            fits = video.dtype == torch.uint8 and video.dim() == 4 and video.shape[1] == 3
            if not fits or len(video) < frames.count or self.size not in (None, tuple(video.shape[2:])):
                height, width = self.size or ("height", "width")
                raise PosError(
                    f"The detectors take uint8 videos ({frames.count}, 3, {height}, {width}) (frames, "
                    f"channels, height, width), not {video.dtype} {tuple(video.shape)}."
                )


def _frames(videos: Sequence[Tensor], indices: Sequence[int]) -> list[Tensor]:
    return [video[list(indices)] for video in videos]
