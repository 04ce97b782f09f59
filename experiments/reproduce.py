"""A table of the paper on a benchmark: see --help."""

from typing import Any

from omegaconf import DictConfig

from pos.cli import command


@command("reproduce")
def main(cfg: DictConfig) -> dict[str, Any]:
    from pos.study.reproduce import reproduce
    from pos.study.tracking import log_study
    from pos.tracking.loggers import build_logger

    logger = build_logger(cfg)  # what it lacks is said before the work

    table = reproduce(cfg)
    if table is None:
        return {}
    print(table.to_markdown())
    return log_study(logger, cfg)


if __name__ == "__main__":
    main()
