"""``logger=csv`` and ``logger=wandb``: a run for a command, a row of a study or a training."""

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

# W&B's own modes, and what each comes to here.
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
    """What a run is.

    Attributes:
        name: for people.
        kind: generate, evaluate, study, row or train.
        folder: what the command writes to.
        config: the resolved configuration; secrets are taken out before it is logged.
        group: the study or sweep that it belongs to.
    """

    name: str
    kind: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None

    @property
    def id(self) -> str:
        """Repeated work goes on in the same run."""
        return content_hash(self.kind, self.group, self.name, str(Path(self.folder).resolve()), self.config)


class Run(Protocol):
    """What can be logged."""

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Numbers by name; those that are None are left out."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers, texts and paths of GIFs."""

    def videos(self, shown: Sequence[tuple[Path, str]]) -> None:
        """GIFs with their captions: ``video/1``, ``video/2``, ..."""

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """Files as one artifact; those that hold a secret are left out."""


class Logger(Protocol):
    """Makes runs."""

    def run(self, identity: Identity) -> contextlib.AbstractContextManager[Run]:
        """One run, from its start to its end."""

    def lightning(self, identity: Identity) -> LightningLogger:
        """The logger of a training, which is a run of its own."""

    def finish(self, logger: LightningLogger, paths: Sequence[Path]) -> None:
        """End a training's run with the files that it leaves."""


def build_logger(cfg: DictConfig) -> Logger | None:
    """The logger of a configuration, before any work is done; None where nothing is logged.

    Raises:
        PosError: W&B is not installed, or is to be online without a login.
    """
    return None if cfg.logger is None else instantiate(cfg.logger)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain data."""
    return OmegaConf.to_container(cfg, resolve=True)


class Csv:
    """Files in a folder ``logs`` of what the command writes: ``metrics.csv``, and one a table."""

    @contextlib.contextmanager
    def run(self, identity: Identity) -> Iterator[CsvRun]:
        yield CsvRun(Path(identity.folder) / "logs", identity.name)

    def lightning(self, identity: Identity) -> LightningLogger:
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(save_dir=identity.folder, name="logs")

    def finish(self, logger: LightningLogger, paths: Sequence[Path]) -> None:
        """They lie beside it already."""


@dataclass(frozen=True)
class CsvRun:
    """A line a run in ``metrics.csv``: run, metric, value."""

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
        """They lie beside it already."""

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """They lie beside it already."""


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
            raise PosError(f"W&B took no run ({error}): logger.mode=offline keeps it here.") from error
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
            "id": identity.id,  # the agent of a sweep has its own
            "resume": "allow",
            "dir": str(identity.folder),
            "mode": self.mode,
            "tags": self.tags,
            "config": redacted(identity.config),
            # Neither the command line, nor what is printed, nor the source, nor the machine.
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
    """A run of W&B that is going on."""

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
                log.warning("%s holds a secret of the environment and is not logged.", path)
            else:
                artifact.add_file(str(path))
        self.run.log_artifact(artifact)


def _video(path: Path, caption: str | None = None) -> Any:
    import wandb

    return wandb.Video(str(path), caption=caption, format="gif")


def choose_mode(mode: str) -> str:
    """``online`` or ``offline``; ``disabled`` where W&B is told to log nothing, and ``mode`` is ``auto``.

    Raises:
        PosError: an unknown mode, here or in ``WANDB_MODE``, or ``online`` without a login.
    """
    import wandb
    from wandb.sdk.lib.wbauth import authenticate_session  # what wandb.init asks, without asking the user

    if mode not in MODES:
        raise PosError(f"mode={mode} is not allowed: choose one of {', '.join(MODES)}.")
    chosen = _told() if mode == "auto" else mode
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


def _told() -> str:
    """What W&B itself is told, by ``WANDB_MODE`` or by `wandb offline`; a login must not overrule it."""
    import wandb

    told = os.environ.get("WANDB_MODE")
    if told and told not in _WANDB_MODES:
        raise PosError(f"WANDB_MODE={told} is not allowed: choose one of {', '.join(_WANDB_MODES)}.")
    return _WANDB_MODES[told or wandb.setup().settings.mode]
