"""Training of SCVideo and NPNet: predict the noise in noised targets under their caption (DDPM's eps-MSE).

Or v = signal * eps - noise * x_0 (Salimans and Ho 2022), whose error is that of eps over the signal: the same
loss, weighted with 1 + 1/SNR.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pos.diffusion.levels import Schedule, add_noise
from pos.errors import PosError
from pos.networks.inflated.scvideo import save_unet
from pos.networks.inflated.trunk import InflatedTrunk
from pos.networks.shapes.clip import load_clip
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.networks.tokens import tokenize
from pos.storage import asset, locate
from pos.training.accuracy import SampleAccuracy
from pos.training.task import Optimization, Task

STABLE_DIFFUSION = Schedule()
QUARTERS = (
    "0-249",
    "250-499",
    "500-749",
    "750-999",
)  # timesteps with a validation loss of their own


class DiffusionTask(Task):
    """The loss at timesteps spread as the sampler's; captions are dropped for the guidance's other half.

    Args:
        network: an ``InflatedUNet``, new or loaded (NPNet starts from SCVideo), or another inflated network.
        clip: a ShapesCLIP, a file or an asset's name; its text tower, frozen, conditions the network.
        optimization: optimiser and schedule.
        seed: of noises, timesteps and dropped captions.
        text_dropout: fraction of captions replaced by the empty one.
        subset: what is trained, ``all`` or one of the network's own subsets (``scvideo``; Tune-A-Video's
            ``tuneavideo`` and ``retrained``).
        schedule: noise levels and what is predicted; the default is Stable Diffusion's and the paper's.
        compiled: compile the network (torch.compile).
        accuracy: samples videos and judges them at each validation; None skips this.

    Raises:
        PosError: a dropout outside [0, 1].
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
        schedule: Schedule = STABLE_DIFFUSION,
        compiled: bool = False,
        accuracy: SampleAccuracy | None = None,
    ) -> None:
        super().__init__(network.train(), optimization)
        if not 0 <= text_dropout <= 1:
            raise PosError(f"text_dropout={text_dropout} is not a fraction of captions: choose 0 to 1.")
        self.seed, self.text_dropout, self.schedule = seed, text_dropout, schedule
        self.compiled, self.accuracy = compiled, accuracy
        network.requires_grad_(False)
        for parameter in network.parameters():
            if parameter.ndim == 4:  # the maps are channels-last: kernels like them need no turning each step
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        for parameter in network.trainable_parameters(subset):
            parameter.requires_grad_(True)
        self.tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
        self.text_encoder = load_clip(locate(clip)).text.text_model
        self.register_buffer("alphas", schedule.alphas().float(), persistent=False)
        self.register_buffer("empty", tokenize(self.tokenizer, [""]), persistent=False)

    def on_fit_start(self) -> None:
        if self.compiled:
            self.network.compile()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        generator = self.generator(self.seed)
        count = len(batch["targets"])
        timesteps = self.schedule.timesteps(_spread(count, generator))
        dropped = torch.rand(count, 1, generator=generator, device=self.device) < self.text_dropout
        ids = torch.where(dropped, self.empty, batch["input_ids"])
        noise = torch.randn(batch["targets"].shape, generator=generator, device=self.device)
        loss = self._errors(self.network, batch["targets"], ids, timesteps, noise).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def _errors(
        self, network: torch.nn.Module, targets: Tensor, ids: Tensor, timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """Squared error of the prediction, the mean of each sample (b,)."""
        with torch.no_grad():
            context = self.text_encoder(input_ids=ids).last_hidden_state
        targets = targets.float()
        noised = add_noise(targets, noise, timesteps, self.alphas)
        expected = noise
        if self.schedule.prediction == "v":
            expected = add_noise(noise, -targets, timesteps, self.alphas)
        predicted = network(noised, timesteps, context)
        return (predicted.float() - expected).square().flatten(1).mean(1)

    def on_validation_epoch_start(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        generator = torch.Generator(self.device).manual_seed(1_009 * batch_idx + self.global_rank)
        timesteps = self.schedule.timesteps(_spread(len(batch["targets"]), generator))
        noise = torch.randn(batch["targets"].shape, generator=generator, device=self.device)
        # ``forward`` and not a call: that would compile the network once more, for batches without gradients.
        errors = self._errors(self.network.forward, batch["targets"], batch["input_ids"], timesteps, noise)
        self._seen.append((timesteps, errors))

    def on_validation_epoch_end(self) -> None:
        timesteps, errors = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        metrics = {"prediction MSE": errors.mean()}
        for quarter, name in enumerate(QUARTERS):
            own = errors[timesteps.div(250, rounding_mode="floor") == quarter]
            metrics[f"prediction MSE, timesteps {name}"] = own.mean() if len(own) else errors.mean()
        self.log_dict(metrics, sync_dist=True)
        if self.accuracy is not None:
            sampled = self.accuracy(
                self.network,
                self.text_encoder,
                self.tokenizer,
                self.schedule,
                self.global_rank,
                self.trainer.world_size,
            )
            self.log_dict(sampled, sync_dist=True)

    def export(self, path: Path) -> None:
        save_unet(self.network, path, self.schedule)


def _spread(count: int, generator: torch.Generator) -> Tensor:
    """Places (b,) in [0, 1), a uniform draw from each of b equal parts: losses vary less between steps."""
    offsets = torch.rand(count, generator=generator, device=generator.device)
    return (torch.arange(count, device=generator.device) + offsets) / count
