"""The Shapes stream for training and the reference clips for validation, rendered on the accelerator."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pos.data.shapes.captions import DETAILS, caption
from pos.data.shapes.splits import references, training_batch
from pos.data.shapes.world import Scenes, render
from pos.errors import PosError
from pos.networks.shapes.tokenizer import CONTEXT, load_tokenizer
from pos.storage import asset

_ENDLESS = 2**31  # batches; no run sees the end of it


class ShapesData(pl.LightningDataModule):
    """Rendered clips: {"videos": uint8 (b, f, 3, 64, 64), "attributes": int64 (b, 6)}.

    With captions, also {"input_ids", "attention_mask"}, int64 (b, 64). Workers draw scenes and
    captions, which are a few numbers; rendering waits until they are on the accelerator. The stream is a
    function of the seed and the step, so a resumed run goes on where it stopped.

    Args:
        batch_size: clips of a training batch, of each process.
        seed: of the training stream.
        workers: processes that draw.
        details: levels of detail (0..3) of the training captions, drawn uniformly; None for no captions.
            Validation captions are detailed.
        validation: how many of the reference clips to validate on.
        validation_batch_size: clips of a validation batch.
    """

    def __init__(
        self,
        batch_size: int,
        seed: int,
        workers: int = 4,
        details: Sequence[int] | None = None,
        validation: int = 2048,
        validation_batch_size: int = 128,
    ) -> None:
        super().__init__()
        if min(batch_size, validation, validation_batch_size) < 1 or workers < 0:
            raise PosError(
                f"batch_size {batch_size}, validation {validation} and validation_batch_size "
                f"{validation_batch_size} must be at least 1, workers {workers} at least 0."
            )
        if details is not None and not set(details) <= set(range(DETAILS)):
            raise PosError(f"details is {list(details)}: levels of detail are 0..{DETAILS - 1}.")
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.details, self.validation, self.validation_batch_size = details, validation, validation_batch_size

    @property
    def description(self) -> str:
        """What a card says about the data."""
        captions = "no captions" if self.details is None else f"captions of detail {list(self.details)}"
        return f"Shapes training stream, seed {self.seed}, {captions}; held out: {self.validation} references"

    def train_dataloader(self) -> DataLoader:
        # Batch numbers go on from the step a checkpoint was made at, and the processes take turns.
        first = self.trainer.global_step * self.trainer.world_size + self.trainer.global_rank
        order = range(first, _ENDLESS, self.trainer.world_size)
        return DataLoader(
            _Stream(self.seed, self.batch_size, self.details),
            batch_size=None,
            sampler=order,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        clips = _References(self.validation, self.validation_batch_size, self.details is not None)
        return DataLoader(clips, batch_size=None)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        scenes: Scenes = batch["scenes"]
        rest = {name: value for name, value in batch.items() if name != "scenes"}
        return {"videos": render(scenes), "attributes": scenes.attributes, **rest}


class _Captions:
    """Captions to {"input_ids", "attention_mask"}, int64 (b, 64), by the Shapes tokenizer."""

    def __init__(self) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the loader's workers are the parallelism
        self.tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))

    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        encoded = self.tokenizer(
            list(captions), padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


class _Stream(Dataset):
    """Batch i of the endless stream."""

    def __init__(self, seed: int, batch_size: int, details: Sequence[int] | None) -> None:
        self.seed, self.batch_size, self.details = seed, batch_size, details
        self.tokens = None if details is None else _Captions()

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.tokens is None:
            return {"scenes": training_batch(self.seed, index, self.batch_size).scenes}
        batch = training_batch(self.seed, index, self.batch_size, self.details)
        return {"scenes": batch.scenes, **self.tokens(batch.captions)}


class _References(Dataset):
    """The reference clips in order, with detailed captions if captions are requested."""

    def __init__(self, count: int, batch_size: int, captioned: bool) -> None:
        self.scenes = Scenes.cat([clip.scene for clip in references(count)])
        self.batch_size = batch_size
        self.tokens = _Captions() if captioned else None

    def __len__(self) -> int:
        return -(-len(self.scenes) // self.batch_size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rows = range(index * self.batch_size, min(len(self.scenes), (index + 1) * self.batch_size))
        scenes = self.scenes[list(rows)]
        if self.tokens is None:
            return {"scenes": scenes}
        captions = [
            caption(row, DETAILS - 1, random.Random(number))
            for number, row in zip(rows, scenes.attributes.tolist(), strict=True)
        ]
        return {"scenes": scenes, **self.tokens(captions)}


def sample_frames(videos: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` frames of every clip, without replacement and in order: (b, f, ...) to (b, count, ...)."""
    keys = torch.rand(videos.shape[:2], generator=generator, device=videos.device)
    chosen = keys.topk(count, dim=1).indices.sort(dim=1).values
    return videos[torch.arange(len(videos), device=videos.device)[:, None], chosen]
