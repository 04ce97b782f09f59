"""The data of SCVideo and NPNet: targets of the Shapes stream, made once and kept whole on the accelerator.

Rendering, encoding and inverting a clip costs more than a training step on it, and the tokens of its captions
are few numbers, so that a batch is a row index away. Finished data sets are cached by content; with several
processes each makes and keeps its own share of the training clips.
"""

from __future__ import annotations

import os
import random
from abc import abstractmethod
from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from tqdm import tqdm

from pos.data.shapes.splits import TRAINING_DETAILS, references, training_batch, training_caption
from pos.data.shapes.world import Scenes, render
from pos.errors import PosError
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.networks.tokens import tokenize
from pos.storage import TensorCache, asset, content_hash
from pos.training.targets import Targets

CHUNK = 512  # clips rendered, encoded and inverted at a time
_SHARE = 2**32  # chunks of the training stream that are set aside for each process


class LatentData(pl.LightningDataModule):
    """Batches {"targets": float16 (b, c, f, h, w), "input_ids": int64 (b, n)} of captioned Shapes clips.

    Args:
        targets: turns clips into training targets (latents, or inverted noises).
        clips: training clips of each process.
        captions: captions of each clip, of mixed detail; a step draws one of them.
        batch_size: clips of a training batch, of each process.
        seed: of the training stream and of the batches.
        cache: folder of the finished data sets.
        workers: processes that draw scenes and captions.
        validation: reference clips to validate on, with one caption each.

    Raises:
        PosError: a number below 1.
    """

    def __init__(
        self,
        targets: Targets,
        clips: int,
        captions: int,
        batch_size: int,
        seed: int,
        cache: str,
        workers: int = 4,
        validation: int = 1024,
    ) -> None:
        super().__init__()
        counts = {"clips": clips, "captions": captions, "batch_size": batch_size, "validation": validation}
        for name, value in counts.items():
            if value < 1:
                raise PosError(f"{name}={value} is not possible: at least 1.")
        self.targets, self.clips, self.captions = targets, clips, captions
        self.batch_size, self.seed, self.workers, self.validation = batch_size, seed, workers, validation
        self.cache = TensorCache(cache, targets.name)
        self._sets: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def description(self) -> str:
        """What a card says about the data."""
        return (
            f"{self.targets.name} of {self.clips} clips a process of the Shapes training stream, "
            f"seed {self.seed}, {self.captions} captions each; held out: {self.validation} references"
        )

    def setup(self, stage: str) -> None:
        """Make or read what the stage needs, on this process' device."""
        required = {"validation", "train"} if stage == "fit" else {"validation"}
        absent = sorted(required - set(self._sets))
        if not absent:
            return
        device = self.trainer.strategy.root_device
        networks = self.targets.prepare(device)
        for split in absent:
            self._sets[split] = self._load(split, networks, device)

    def train_dataloader(self) -> DataLoader:
        seed = int(content_hash(self.seed, self.trainer.global_rank), 16)
        batches = _Batches(*self._sets["train"], self.batch_size, seed, self.trainer.global_step)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """This process' share of the validation clips, in order."""
        own = slice(self.trainer.global_rank, None, self.trainer.world_size)
        size = min(self.batch_size, CHUNK)
        parts = (tensor[own].split(size) for tensor in self._sets["validation"])
        batches = [{"targets": x, "input_ids": ids[:, 0].long()} for x, ids in zip(*parts, strict=True)]
        return DataLoader(batches, batch_size=None)

    def _load(self, split: str, networks: str, device: torch.device) -> tuple[Tensor, Tensor]:
        chunks: _Chunks = _Held(self.validation)
        if split == "train":
            chunks = _Stream(self.clips, self.seed, self.trainer.global_rank * _SHARE, self.captions)
        key = content_hash(split, networks, chunks.content_key())
        found = self.cache.get(key)
        if found is None:
            found = self._make(split, chunks, device)
            self.cache.put(key, found)
        return found["targets"].to(device), found["tokens"].to(device)

    def _make(self, split: str, chunks: _Chunks, device: torch.device) -> dict[str, Tensor]:
        loader = DataLoader(chunks, batch_size=None, num_workers=self.workers)
        silent = not self.trainer.is_global_zero
        targets, tokens = [], []
        for scenes, ids in tqdm(loader, desc=f"{self.targets.name} ({split})", unit="chunk", disable=silent):
            videos = render(scenes.to(device), chunk=CHUNK)
            targets.append(self.targets(videos).half())
            tokens.append(ids)
        made = torch.cat(targets)
        if not made.isfinite().all():
            raise PosError(f"Some {self.targets.name} do not fit into half precision: nothing was kept.")
        return {"targets": made, "tokens": torch.cat(tokens)}


class _Chunks(Dataset):
    """Chunk i: its scenes and the tokens of their captions, int16 (b, captions, n)."""

    def __init__(self, clips: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the loader's workers are the parallelism
        self.clips = clips
        self.tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))

    def __len__(self) -> int:
        return -(-self.clips // CHUNK)

    def __getitem__(self, index: int) -> tuple[Scenes, Tensor]:
        size = min(CHUNK, self.clips - index * CHUNK)
        if size <= 0:
            raise IndexError(index)
        scenes, captions = self.draw(index, size)
        ids = tokenize(self.tokenizer, [text for texts in captions for text in texts])
        return scenes, ids.unflatten(0, (size, -1)).short()

    @abstractmethod
    def draw(self, index: int, size: int) -> tuple[Scenes, list[list[str]]]:
        """``size`` scenes and the captions of each."""

    def content_key(self) -> str:
        """Hash of the first chunk as it is now, pixels and tokens, and of how many clips there are."""
        scenes, tokens = self[0]
        return content_hash(self.clips, render(scenes[:4]), scenes.jitter, tokens)


class _Stream(_Chunks):
    """Clips of the training stream from chunk ``first`` on."""

    def __init__(self, clips: int, seed: int, first: int, captions: int) -> None:
        super().__init__(clips)
        self.seed, self.first, self.captions = seed, first, captions

    def draw(self, index: int, size: int) -> tuple[Scenes, list[list[str]]]:
        batch = training_batch(self.seed, self.first + index, size)
        rng = random.Random(f"{self.seed}:{self.first + index}")
        rows = batch.scenes.attributes.tolist()
        others = [
            [training_caption(row, rng.choice(TRAINING_DETAILS), rng) for _ in range(self.captions - 1)]
            for row in rows
        ]
        return batch.scenes, [[text, *more] for text, more in zip(batch.captions, others, strict=True)]


class _Held(_Chunks):
    """Reference clips, each with its own caption."""

    def __init__(self, clips: int) -> None:
        super().__init__(clips)
        self.held = references(clips)

    def draw(self, index: int, size: int) -> tuple[Scenes, list[list[str]]]:
        clips = self.held[index * CHUNK : index * CHUNK + size]
        return Scenes.cat([clip.scene for clip in clips]), [[clip.caption] for clip in clips]


class _Batches(IterableDataset):
    """Endless batches of rows drawn with replacement: a function of seed and step, so a run can resume."""

    def __init__(self, targets: Tensor, tokens: Tensor, batch_size: int, seed: int, step: int) -> None:
        self.targets, self.tokens, self.batch_size = targets, tokens, batch_size
        self.seed, self.step = seed, step

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        device, size = self.targets.device, (self.batch_size,)
        generator = torch.Generator(device)
        step = self.step
        while True:
            generator.manual_seed((self.seed + step) % 2**63)
            rows = torch.randint(len(self.targets), size, generator=generator, device=device)
            texts = torch.randint(self.tokens.shape[1], size, generator=generator, device=device)
            yield {"targets": self.targets[rows], "input_ids": self.tokens[rows, texts].long()}
            step += 1
