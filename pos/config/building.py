"""A configuration to a pipeline."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig

from pos.ona.reconstruction import Check
from pos.pipeline import Pipeline


def build_pipeline(cfg: DictConfig) -> Pipeline:
    """The pipeline of a configuration; pool, rewriter and NPNet are made only for a method that asks them.

    Raises:
        PosError: a value outside its range, absent weights, or a part that the method needs is absent.
    """
    method = instantiate(cfg.method)
    return Pipeline(
        backbone=instantiate(cfg.backbone),
        method=method,
        retriever=instantiate(cfg.retriever) if method.retrieves else None,
        rewriter=instantiate(cfg.rewriter) if method.rewrites else None,
        npnet=instantiate(cfg.npnet) if method.predicts else None,
        steps=cfg.steps,
        guidance=cfg.guidance,
        frames=cfg.frames,
        height=cfg.height,
        width=cfg.width,
        negative_prompt=cfg.negative_prompt or "",
        batch_size=cfg.batch_size,
        inversion_check=build_check(cfg.inversion_check),
        cache_dir=cfg.cache,
    )


def build_check(node: DictConfig | bool | None) -> Check | None:
    """The look at inverted noises that ``inversion_check`` asks for: its keys, or a plain true or false."""
    if isinstance(node, DictConfig):
        return instantiate(node)
    return Check() if node else None
