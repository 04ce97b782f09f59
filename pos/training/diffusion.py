"""Training of SCVideo and NPNet: predict the noise in noised targets under their caption (DDPM's eps-MSE)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pos.diffusion.levels import add_noise, alphas_cumprod
from pos.errors import PosError
from pos.networks.inflated_trunk import InflatedTrunk
from pos.networks.inflated_unet import save_unet
from pos.networks.shapes_clip import load_clip
from pos.networks.tokenizer import load_tokenizer, tokenize
from pos.storage import asset, locate
from pos.training.accuracy import SampleAccuracy
from pos.training.task import Optimization, Task

QUARTERS = ("0-249", "250-499", "500-749", "750-999")  # timesteps whose validation losses are told apart


class DiffusionTask(Task):
    """The eps-MSE at uniform timesteps, with captions dropped so that guidance has an unconditional model.

    Args:
        network: an ``InflatedUNet``, new or loaded (NPNet starts from SCVideo), or another inflated network.
        clip: a ShapesCLIP, a file or an asset's name; its text tower, frozen, conditions the network.
        optimization: optimiser and schedule.
        seed: of noises, timesteps and dropped captions.
        text_dropout: fraction of captions replaced by the empty one.
        subset: what is trained, ``all`` or one of the network's own subsets (``scvideo``; Tune-A-Video's
            ``tuneavideo`` and ``retrained``).
        snr_cap: weigh a sample by min(SNR, cap) / SNR (Hang et al. 2023), which moves a short training's
            effort from the finest details to shape and motion; None is the plain loss of the paper.
        compiled: compile the network (torch.compile).
        accuracy: what is sampled and judged at each validation; None for nothing.

    Raises:
        PosError: a dropout outside [0, 1], a cap that is not positive.
    """

    network: InflatedTrunk

    def __init__(
        self,
        network: InflatedTrunk,
        clip: str,
        optimization: Optimization,
        seed: int,
        text_dropout: float = 0.1,
        subset: str = "all",
        snr_cap: float | None = None,
        compiled: bool = False,
        accuracy: SampleAccuracy | None = None,
    ) -> None:
        super().__init__(network.train(), optimization)
        if not 0 <= text_dropout <= 1:
            raise PosError(f"text_dropout={text_dropout} is not a fraction of captions: choose 0 to 1.")
        if snr_cap is not None and not snr_cap > 0:
            raise PosError(
                f"snr_cap={snr_cap} is not possible: a positive number, or null for the plain loss."
            )
        self.seed, self.text_dropout, self.compiled, self.accuracy = seed, text_dropout, compiled, accuracy
        network.requires_grad_(False)
        for parameter in network.trainable_parameters(subset):
            parameter.requires_grad_(True)
        self.tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
        self.text_encoder = load_clip(locate(clip)).text.text_model
        alphas = alphas_cumprod().float()
        weights = (
            torch.ones_like(alphas) if snr_cap is None else (snr_cap * (1 - alphas) / alphas).clamp(max=1)
        )
        self.register_buffer("alphas", alphas, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("empty", tokenize(self.tokenizer, [""]), persistent=False)

    def on_fit_start(self) -> None:
        if self.compiled:
            self.network.compile()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        generator = self.generator(self.seed)
        count = len(batch["targets"])
        timesteps = _spread(count, generator)
        dropped = torch.rand(count, 1, generator=generator, device=self.device) < self.text_dropout
        ids = torch.where(dropped, self.empty, batch["input_ids"])
        noise = torch.randn(batch["targets"].shape, generator=generator, device=self.device)
        errors = self._errors(self.network, batch["targets"], ids, timesteps, noise)
        loss = (self.weights[timesteps] * errors).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def _errors(
        self, network: torch.nn.Module, targets: Tensor, ids: Tensor, timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """Squared error of the predicted noise, the mean of each sample (b,)."""
        with torch.no_grad():
            context = self.text_encoder(input_ids=ids).last_hidden_state
        noised = add_noise(targets.float(), noise, timesteps, self.alphas)
        predicted = network(noised, timesteps, context)
        return (predicted.float() - noise).square().flatten(1).mean(1)

    def on_validation_epoch_start(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        generator = torch.Generator(self.device).manual_seed(1_009 * batch_idx + self.global_rank)
        timesteps = _spread(len(batch["targets"]), generator)
        noise = torch.randn(batch["targets"].shape, generator=generator, device=self.device)
        # ``forward`` and not a call: that would compile the network once more, for batches without gradients.
        errors = self._errors(self.network.forward, batch["targets"], batch["input_ids"], timesteps, noise)
        self._seen.append((timesteps, errors))

    def on_validation_epoch_end(self) -> None:
        timesteps, errors = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        metrics = {"noise MSE": errors.mean()}
        for quarter, name in enumerate(QUARTERS):
            own = errors[timesteps.div(250, rounding_mode="floor") == quarter]
            metrics[f"noise MSE, timesteps {name}"] = own.mean() if len(own) else errors.mean()
        self.log_dict(metrics, sync_dist=True)
        if self.accuracy is not None:
            sampled = self.accuracy(
                self.network, self.text_encoder, self.tokenizer, self.global_rank, self.trainer.world_size
            )
            self.log_dict(sampled, sync_dist=True)

    def export(self, path: Path) -> None:
        save_unet(self.network, path)


def _spread(count: int, generator: torch.Generator) -> Tensor:
    """Timesteps (b,), a uniform draw from each of b equal parts of 0..999: losses vary less between steps."""
    offsets = torch.rand(count, generator=generator, device=generator.device)
    places = torch.arange(count, device=generator.device) + offsets
    return (places * (1000 / count)).long().clamp(max=999)
