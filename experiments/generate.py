"""Prompts to videos: see --help."""

from typing import Any

from omegaconf import DictConfig

from pos.cli import command


@command("generate")
def main(cfg: DictConfig) -> dict[str, Any]:
    from pos.generation import log_generation, run
    from pos.tracking.loggers import build_logger

    logger = build_logger(cfg)  # what it lacks is said before the work
    return log_generation(logger, cfg, run(cfg))


if __name__ == "__main__":
    main()
