"""One command trains every network: ``python experiments/train.py +experiment=shapes/judge``.

An experiment file (conf/experiment) names two nodes, and the runner knows nothing else of what it trains:

- ``task``: a ``pos.training.task.Task``, a LightningModule with ``.network`` (validated and exported with
  averaged weights), ``.export(path)``, and validation metrics logged by plain names for the card;
- ``data``: a LightningDataModule with ``.batch_size`` and ``.description`` (a phrase for the card). Workers
  yield what is small; ``on_after_batch_transfer`` renders or encodes it on the accelerator.

The runner adds the trainer, the moving average, checkpoints and the logger; resumes from ``last.ckpt``; ends
after ``max_steps`` steps or ``max_minutes`` minutes, whichever comes first; validates; exports with a card.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, Timer
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from pos.devices import device_name
from pos.errors import PosError
from pos.storage import asset, content_hash, lock_folder
from pos.tracking.loggers import Identity, build_logger, resolved
from pos.training import export
from pos.training.callbacks import MovingAverage, Pace
from pos.training.task import Task

log = logging.getLogger(__name__)

_SPEED_ONLY = ("workers",)  # keys of the data node that change no result


def train(config: DictConfig) -> dict[str, float]:
    """Train, validate and export what the configuration describes; returns the final validation metrics.

    Raises:
        PosError: no budget, no such accelerator, or an output that cannot be written.
    """
    if config.max_steps is None and config.max_minutes is None:
        raise PosError(
            "There is no budget: choose what to train, for instance +experiment=shapes/scvideo, which has "
            "one, or give max_steps, max_minutes or both."
        )
    pl.seed_everything(config.seed, workers=True, verbose=False)
    task, data = _build(config)
    weights = Path(config.export or asset(f"shapes/{config.name}.safetensors"))
    folder = Path(config.out) / f"{config.name}-{run_key(config)}"
    with lock_folder(folder) if rank_zero_only.rank == 0 else contextlib.nullcontext():
        try:
            return _fit(config, task, data, folder, weights)
        finally:  # the next training of this process has other processes beside it
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def refresh(config: DictConfig) -> dict[str, float]:
    """Validate exported weights again and rewrite the metrics on their card; nothing is trained."""
    task, data = _build(config)
    weights = Path(config.export or asset(f"shapes/{config.name}.safetensors"))
    task.load(weights)
    metrics = _metrics(_trainer(config, logger=False).validate(task, datamodule=data, verbose=False))
    export.refresh_card(weights.with_suffix(".md"), metrics)
    return metrics


def run_key(config: DictConfig) -> str:
    """What a run's folder is named after: task, data and seed, not budget, device, logger, output or workers.

    A run with a larger budget therefore goes on from the checkpoint of the smaller one.
    """
    resolved = OmegaConf.to_container(config, resolve=True)
    data = {name: value for name, value in resolved["data"].items() if name not in _SPEED_ONLY}
    return content_hash(resolved["task"], data, resolved["seed"])


def _fit(
    config: DictConfig, task: Task, data: pl.LightningDataModule, folder: Path, weights: Path
) -> dict[str, float]:
    average = MovingAverage(config.ema.decay, config.ema.every)
    timer = Timer(duration=None if config.max_minutes is None else timedelta(minutes=config.max_minutes))
    keep = ModelCheckpoint(
        dirpath=folder,
        filename="last",
        train_time_interval=timedelta(minutes=config.checkpoint_minutes),
        enable_version_counter=False,
    )
    tracker = build_logger(config)
    identity = Identity(folder.name, "train", folder, resolved(config), group=config.name)
    logger = tracker.lightning(identity) if tracker else False
    trainer = _trainer(config, logger=logger, callbacks=[average, timer, keep, Pace(config.progress_seconds)])
    last = folder / "last.ckpt"
    if last.is_file():
        log.info("Resuming from %s.", last)
    trainer.fit(task, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    average.adopt(task)
    trainer.save_checkpoint(last)
    metrics = _metrics(trainer.validate(task, datamodule=data, verbose=False))
    if trainer.is_global_zero:
        task.export(weights)
        record = export.Record(
            name=config.name,
            command=export.command(),
            commit=export.commit(),
            device=device_name(trainer.strategy.root_device, trainer.world_size),
            steps=trainer.global_step,
            samples=trainer.global_step * data.batch_size * trainer.world_size,
            seconds=timer.time_elapsed(),
            parameters=sum(parameter.numel() for parameter in task.network.parameters()),
            data=data.description,
        )
        export.write_card(weights.with_suffix(".md"), record, metrics, weights)
        if tracker:
            tracker.finish(logger, [weights.with_suffix(".md")])
        log.info("%s: %s", weights, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    return metrics


def _build(config: DictConfig) -> tuple[Task, pl.LightningDataModule]:
    # Plain containers: what a network keeps of its arguments goes as JSON into its file.
    return instantiate(config.task, _convert_="all"), instantiate(config.data, _convert_="all")


def _trainer(config: DictConfig, **extra: object) -> pl.Trainer:
    torch.set_float32_matmul_precision("high")
    steps = -1 if config.max_steps is None else config.max_steps
    try:
        return instantiate(config.trainer, max_steps=steps, max_epochs=-1, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise PosError(f"This machine cannot train so ({error.__cause__}): try trainer=cpu.") from error
        raise


def _metrics(results: list[dict[str, float]]) -> dict[str, float]:
    return dict(results[0])
