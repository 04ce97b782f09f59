"""``logger=csv`` and ``logger=wandb``: one run for each command, row of a study or training."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pos.errors import PosError, require
from pos.storage import content_hash, csv_text, write_atomic
from pos.tracking.secrets import leaks, redacted

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger as LightningLogger

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline")

# W&B's own modes, and the mode here.
_WANDB_MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


@dataclass(frozen=True)
class Identity:
    """What identifies a run.

    Attributes:
        name: shown to people.
        kind: generate, evaluate, study, row or train.
        folder: that the command writes to.
        config: the resolved configuration; secrets are removed before it is logged.
        group: the study or sweep that the run belongs to.
    """

    name: str
    kind: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None

    @property
    def id(self) -> str:
        """The same for repeated work, which continues the run."""
        return content_hash(self.kind, self.group, self.name, str(Path(self.folder).resolve()), self.config)


class Run(Protocol):
    """A run, and what can be logged to it."""

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Numbers by name; those that are None are left out."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers, texts and paths of GIFs."""

    def videos(self, shown: Sequence[tuple[Path, str]]) -> None:
        """GIFs with their captions: ``video/1``, ``video/2``, ..."""

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """Files as one artifact; files with a secret are left out."""


class Logger(Protocol):
    """Starts runs."""

    def run(self, identity: Identity) -> contextlib.AbstractContextManager[Run]:
        """One run, from its start to its end."""

    def lightning(self, identity: Identity) -> LightningLogger:
        """The logger of a training, which is a run of its own."""

    def finish(self, logger: LightningLogger, paths: Sequence[Path]) -> None:
        """End the run of a training with the files that it wrote."""


def build_logger(cfg: DictConfig) -> Logger | None:
    """The logger of a configuration; None where nothing is logged. Build it before any work is done.

    Raises:
        PosError: W&B is not installed, or is to be online without a login.
    """
    return None if cfg.logger is None else instantiate(cfg.logger)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain data."""
    return OmegaConf.to_container(cfg, resolve=True)


class Csv:
    """CSV files in the folder ``logs`` below the command's: ``metrics.csv``, and one for each table."""

    @contextlib.contextmanager
    def run(self, identity: Identity) -> Iterator[CsvRun]:
        yield CsvRun(Path(identity.folder) / "logs", identity.name)

    def lightning(self, identity: Identity) -> LightningLogger:
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(save_dir=identity.folder, name="logs")

    def finish(self, logger: LightningLogger, paths: Sequence[Path]) -> None:
        """Nothing: the files are in the command's folder already."""


@dataclass(frozen=True)
class CsvRun:
    """Lines ``run,metric,value`` in ``metrics.csv``, and a file for each table."""

    folder: Path
    name: str

    def metrics(self, values: Mapping[str, float | None]) -> None:
        path = self.folder / "metrics.csv"
        old = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
        kept = [row for row in csv.reader(old) if row[0] != self.name]
        new = [[self.name, name, value] for name, value in values.items() if value is not None]
        write_atomic(path, csv_text([["run", "metric", "value"], *kept, *new]))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        write_atomic(self.folder / f"{name}.csv", csv_text([columns, *redacted([list(row) for row in rows])]))

    def videos(self, shown: Sequence[tuple[Path, str]]) -> None:
        """Nothing: the files are in the command's folder already."""

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """Nothing: the files are in the command's folder already."""


class Wandb:
    """Weights & Biases.

    Args:
        project: of the runs.
        entity: user or team; None takes the login's.
        group: of the runs; None takes the study's name.
        mode: ``online``, ``offline`` (``wandb sync`` uploads later), ``auto`` (what ``WANDB_MODE`` says, else
            online with a login).
        tags: of the runs.

    Raises:
        PosError: wandb is not installed, an unknown mode, or ``online`` without a login.
    """

    def __init__(
        self,
        project: str = "pos",
        entity: str | None = None,
        group: str | None = None,
        mode: Literal["auto", "online", "offline"] = "auto",
        tags: Sequence[str] = (),
    ) -> None:
        require("wandb", extra="logging")
        self.project, self.entity, self.group, self.tags = project, entity, group, list(tags)
        self.mode = choose_mode(mode)

    @contextlib.contextmanager
    def run(self, identity: Identity) -> Iterator[WandbRun]:
        import wandb

        os.environ.setdefault("WANDB_DATA_DIR", str(Path(identity.folder).resolve() / "wandb"))
        try:
            run = wandb.init(**self._arguments(identity), reinit="create_new")
        except wandb.errors.Error as error:
            raise PosError(
                f"W&B did not start a run ({error}): logger.mode=offline logs to files."
            ) from error
        with run:
            yield WandbRun(run)
        if self.mode == "offline":
            log.info("Logged offline, to be uploaded with: wandb sync %s", Path(run.dir).parent)

    def lightning(self, identity: Identity) -> LightningLogger:
        from pytorch_lightning.loggers import WandbLogger

        os.environ.setdefault("WANDB_DATA_DIR", str(Path(identity.folder).resolve() / "wandb"))
        return WandbLogger(save_dir=identity.folder, **self._arguments(identity))  # its name for dir

    def finish(self, logger: LightningLogger, paths: Sequence[Path]) -> None:
        WandbRun(logger.experiment).files("card", "card", paths)
        logger.experiment.finish()

    def _arguments(self, identity: Identity) -> dict[str, Any]:
        import wandb

        Path(identity.folder).mkdir(parents=True, exist_ok=True)
        return {
            "project": self.project,
            "entity": self.entity,
            "name": identity.name,
            "group": self.group or identity.group,
            "job_type": identity.kind,
            "id": identity.id,  # the agent of a sweep sets its own
            "resume": "allow",
            "dir": str(identity.folder),
            "mode": self.mode,
            "tags": self.tags,
            "config": redacted(identity.config),
            # Log neither the command line, nor the output, nor the source code, nor the machine.
            "settings": wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                silent=True,
            ),
        }


@dataclass(frozen=True)
class WandbRun:
    """A running run of W&B."""

    run: Any

    def metrics(self, values: Mapping[str, float | None]) -> None:
        self.run.log({name: value for name, value in values.items() if value is not None})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        import wandb

        cells = [[_video(cell) if isinstance(cell, Path) else redacted(cell) for cell in row] for row in rows]
        self.run.log({name: wandb.Table(columns=list(columns), data=cells)})

    def videos(self, shown: Sequence[tuple[Path, str]]) -> None:
        named = enumerate(shown, start=1)
        self.run.log({f"video/{i}": _video(path, redacted(caption)) for i, (path, caption) in named})

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        import wandb

        artifact = wandb.Artifact(name, type=kind)
        for path in paths:
            if leaks(path):
                log.warning("%s contains a secret of the environment and is not logged.", path)
            else:
                artifact.add_file(str(path))
        self.run.log_artifact(artifact)


def _video(path: Path, caption: str | None = None) -> Any:
    import wandb

    return wandb.Video(str(path), caption=caption, format="gif")


def choose_mode(mode: str) -> str:
    """``online`` or ``offline``; ``disabled`` where ``mode`` is ``auto`` and W&B is disabled.

    Raises:
        PosError: an unknown mode, here or in ``WANDB_MODE``, or ``online`` without a login.
    """
    import wandb
    from wandb.sdk.lib.wbauth import authenticate_session  # as wandb.init does, without asking the user

    if mode not in MODES:
        raise PosError(f"mode={mode} is not allowed: choose one of {', '.join(MODES)}.")
    chosen = _wandb_mode() if mode == "auto" else mode
    if chosen in ("offline", "disabled"):
        return chosen
    try:
        login = authenticate_session(
            host=wandb.setup().settings.base_url, source="pos", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError as error:
        raise PosError(f"The login of W&B cannot be used: {error}") from error
    if mode == "online" and login is None:
        raise PosError(
            "mode=online needs a login of W&B: run `wandb login`, or set WANDB_API_KEY, or choose "
            "mode=offline and upload with `wandb sync` later."
        )
    return "online" if login else "offline"


def _wandb_mode() -> str:
    """The mode set by ``WANDB_MODE`` or by `wandb offline`; a login does not overrule it."""
    import wandb

    mode = os.environ.get("WANDB_MODE")
    if mode and mode not in _WANDB_MODES:
        raise PosError(f"WANDB_MODE={mode} is not allowed: choose one of {', '.join(_WANDB_MODES)}.")
    return _WANDB_MODES[mode or wandb.setup().settings.mode]
