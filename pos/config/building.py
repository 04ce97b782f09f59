"""A configuration to a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue

from pos.config.explain import without_value
from pos.errors import PosError
from pos.method import Method
from pos.ona.reconstruction import Check
from pos.pipeline import Pipeline


def build_pipeline(cfg: DictConfig, parts: Mapping[str, Any] | None = None) -> Pipeline:
    """The pipeline of a configuration.

    Args:
        cfg: of a command; without a ``method`` the pipeline is the plain model.
        parts: ``retriever``, ``rewriter`` and ``npnet``, as far as there are any; None builds those of the
            configuration that its method needs.

    Raises:
        PosError: a value outside its range, missing weights, or a part that the method needs is missing.
    """
    method = instantiate(cfg.method) if "method" in cfg else Method()
    backbone = instantiate(cfg.backbone)
    if parts is None:
        parts = {name: instantiate(cfg[name]) for name in method.parts}
    return Pipeline(
        backbone=backbone,
        method=method,
        **parts,
        steps=cfg.steps,
        guidance=cfg.guidance,
        frames=cfg.frames,
        height=cfg.height,
        width=cfg.width,
        negative_prompt=cfg.get("negative_prompt") or "",
        batch_size=cfg.batch_size,
        inversion_check=_check(cfg.inversion_check),
        cache_dir=cfg.cache,
    )


def build_parts(cfg: DictConfig, names: Collection[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Those optional parts of a pipeline that can be built, and why the others cannot.

    Args:
        cfg: of a command.
        names: of the parts, as in ``Method.parts``.

    Returns:
        The parts and the reasons, both by name.
    """
    built = {name: attempt(cfg[name]) for name in names}
    parts = {name: part for name, (part, _) in built.items()}
    return parts, {name: reason for name, (_, reason) in built.items() if reason is not None}


def attempt(node: DictConfig | None) -> tuple[Any, str | None]:
    """What a node builds, or None and why it cannot be built: bad input only, a bug is raised."""
    if node is None:
        return None, None
    try:
        return instantiate(node), None
    except MissingMandatoryValue as error:
        return None, without_value(error.full_key)
    except InstantiationException as error:
        if not isinstance(error.__cause__, PosError):
            raise
        return None, str(error.__cause__)


def _check(node: DictConfig | bool | None) -> Check | None:
    """The check that ``inversion_check`` requests by its keys, or by a plain true or false."""
    if isinstance(node, DictConfig):
        return instantiate(node)
    return Check() if node else None
