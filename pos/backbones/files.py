"""The files of published models: where they are, what to say of one that is not, and networks out of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from pos.backbones.text import ClipText
from pos.diffusion.levels import LevelTable, ddim_levels
from pos.errors import PosError
from pos.networks.weights import misfit, read_state
from pos.storage import content_hash, file_digest

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

Network = TypeVar("Network", bound=nn.Module)

_OLD_ATTENTION = re.compile(r"\.(query|key|value|proj_attn)\.(?=weight$|bias$)")
_NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def published(path: Path | str, what: str, where: str, key: str) -> Path:
    """A file of a published model.

    Args:
        path: where it is looked for.
        what: the model, as a reader knows it, for instance ``"Stable Diffusion 1.5"``.
        where: the command that gets it from its authors, for instance
            ``"hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --local-dir DIR"``.
        key: the key of the configuration that takes a local path, for instance ``"backbone.folder"``.

    Raises:
        PosError: the file is absent.
    """
    path = Path(path)
    if not path.is_file():
        raise PosError(f"{path} is absent: get {what} with '{where}' and give its place with {key}=PATH.")
    return path


def fingerprint(files: Sequence[Path]) -> str:
    """A short hash of what files hold, in their order."""
    return content_hash(*(file_digest(path) for path in files))


class DiffusersFolder:
    """A published model in the diffusers layout: a folder with ``unet``, ``vae``, ``text_encoder``, ...

    Args:
        place: the folder, or the hub id of a model in the local Hugging Face cache; nothing is downloaded.
        what: the model, as a reader knows it.
        hub: the hub id under which its authors publish it.
        key: the key of the configuration that takes the folder.

    Raises:
        PosError: there is no such folder, and no such model in the cache.
    """

    def __init__(self, place: str, what: str, hub: str, key: str = "backbone.folder") -> None:
        self._source = {"what": what, "where": f"hf download {hub} --local-dir DIR", "key": key}
        self.root = Path(place) if Path(place).is_dir() else self._snapshot(place)

    def _snapshot(self, place: str) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(place, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError) as error:
            how = "get {what} with '{where}' and give its place with {key}=DIR".format(**self._source)
            raise PosError(f"{place} is no folder and not in the local Hugging Face cache: {how}.") from error

    def file(self, name: str) -> Path:
        """A file by its path inside the folder.

        Raises:
            PosError: it is absent; the sentence says where it is published.
        """
        return published(self.root / name, **self._source)

    def config(self, name: str) -> dict[str, Any]:
        """A JSON file, for instance ``unet/config.json``.

        Raises:
            PosError: it is absent or no JSON.
        """
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PosError(f"{path} is not JSON: {error}.") from error

    def weights(self, part: str) -> list[Path]:
        """The safetensors files of a part: whole, in shards, or in half precision (``*.fp16.safetensors``).

        Raises:
            PosError: there is none of these, or a shard is absent.
        """
        stem = "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"
        for variant in ("", ".fp16"):
            whole = self.root / part / f"{stem}{variant}.safetensors"
            if whole.is_file():
                return [whole]
            index = f"{part}/{stem}.safetensors.index{variant}.json"
            if (self.root / index).is_file():
                shards = sorted(set(self.config(index)["weight_map"].values()))
                return [self.file(f"{part}/{shard}") for shard in shards]
        return [self.file(f"{part}/{stem}.safetensors")]  # raises: it is not there

    def load(self, part: str, build: Callable[[dict[str, Any]], Network]) -> Network:
        """A network of the folder; every name and every shape of its weights must agree.

        Args:
            part: ``unet``, ``vae``, ``text_encoder``, ...
            build: ``config.json`` to the network, for instance ``UNet2DConditionModel.from_config``.

        Raises:
            PosError: a file is absent, unreadable, or does not fit the network (the first ten names of each
                kind are given).
        """
        from transformers.initialization import no_init_weights

        with no_init_weights():  # random weights of this size take a while, and none of them stays
            network = build(self.config(f"{part}/config.json"))
        expected = network.state_dict()
        state = {name: tensor for path in self.weights(part) for name, tensor in read_state(path).items()}
        state = _renamed(state, expected)
        problems = misfit(state, expected)
        if problems:
            raise PosError(
                f"The weights in {self.root / part} do not fit {type(network).__name__}: {problems}."
            )
        network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)

    def vae(self) -> AutoencoderKL:
        """The autoencoder."""
        from diffusers import AutoencoderKL

        return self.load("vae", AutoencoderKL.from_config)

    def text(self) -> ClipText:
        """The CLIP text encoder, read at its last hidden state, and its tokenizer with its own padding."""
        return ClipText(self.load("text_encoder", build_text), self.tokenizer("tokenizer"))

    def tokenizer(self, part: str) -> CLIPTokenizer:
        """A CLIP tokenizer.

        Raises:
            PosError: a file of it is absent or unreadable.
        """
        from transformers import CLIPTokenizer

        files = self._tokenizer_files(part)
        try:
            return CLIPTokenizer.from_pretrained(files[0].parent, local_files_only=True)
        except Exception as error:  # the library raises nothing narrower
            raise PosError(f"The tokenizer in {files[0].parent} cannot be read: {error}.") from error

    def _tokenizer_files(self, part: str) -> list[Path]:
        names = ["tokenizer.json"]
        if not (self.root / part / names[0]).is_file():
            names = ["vocab.json", "merges.txt"]
        return [self.file(f"{part}/{name}") for name in (*names, "tokenizer_config.json")]

    def levels(self) -> Callable[[int], LevelTable]:
        """T to the levels of the published scheduler; see :func:`scheduler_levels`."""
        return scheduler_levels(self.config("scheduler/scheduler_config.json"))

    def fingerprint(self, *parts: str) -> str:
        """A short hash of parts: their configurations and weights, or of a tokenizer its vocabulary."""
        files: list[Path] = []
        for part in parts:
            if part.startswith("tokenizer"):
                files += self._tokenizer_files(part)
            elif part == "scheduler":
                files.append(self.file("scheduler/scheduler_config.json"))
            else:
                files += [self.file(f"{part}/config.json"), *self.weights(part)]
        return fingerprint(files)


def build_text(config: Mapping[str, Any]) -> CLIPTextModel:
    """transformers' CLIP text model from its ``config.json``."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**config))


def scheduler_levels(config: Mapping[str, Any]) -> Callable[[int], LevelTable]:
    """T to the level table that ``DDIMScheduler.from_config`` has for a published scheduler's configuration.

    ``clip_sample`` does not count: latents are not pixels, and no pipeline of diffusers clips them.

    Raises:
        PosError: an entry that our level tables do not know.
    """
    known = {
        "prediction_type": ("epsilon", "v_prediction"),
        "timestep_spacing": ("leading",),
        "trained_betas": (None,),
        "rescale_betas_zero_snr": (False,),
        "thresholding": (False,),
    }
    for name, values in known.items():
        if config.get(name, values[0]) not in values:
            allowed = " or ".join(map(str, values))
            raise PosError(f"The scheduler's {name}={config[name]} is not supported: {allowed} is.")
    return partial(
        ddim_levels,
        train_timesteps=config.get("num_train_timesteps", 1000),
        beta_start=config.get("beta_start", 0.0001),
        beta_end=config.get("beta_end", 0.02),
        schedule=config.get("beta_schedule", "linear"),
        offset=config.get("steps_offset", 0),
        final_alpha="one" if config.get("set_alpha_to_one", True) else "first",
        prediction="v" if config.get("prediction_type") == "v_prediction" else "epsilon",
    )


def _renamed(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of today: diffusers and transformers have changed some over the years.

    The ``position_ids`` of text models are no longer stored.
    """
    renamed = {}
    for name, tensor in state.items():
        if name not in expected:
            if name.endswith("embeddings.position_ids"):
                continue
            name = _OLD_ATTENTION.sub(lambda found: f".{_NEW_ATTENTION[found[1]]}.", name)
            name = name.removeprefix("text_model.")
        renamed[name] = tensor
    return renamed
