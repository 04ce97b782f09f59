"""Videos to metrics: see --help."""

from typing import Any

from omegaconf import DictConfig

from pos.cli import command


@command("evaluate")
def main(cfg: DictConfig) -> dict[str, Any]:
    from hydra.utils import instantiate

    from pos.data.benchmarks.manifest import Manifest
    from pos.evaluation.run import evaluate
    from pos.reporting.tables import scores_markdown
    from pos.tracking.loggers import build_logger
    from pos.tracking.records import log_evaluation

    logger = build_logger(cfg)  # what it lacks is said before the work

    benchmark = instantiate(cfg.benchmark) if cfg.manifest is None else Manifest.load(cfg.manifest)
    results = evaluate(
        cfg.videos,
        cfg.prompts,
        benchmark,
        instantiate(cfg.detectors),
        cfg.out,
        reference=cfg.reference,
        frames=instantiate(cfg.frames).of(benchmark, "generated"),
        splits=cfg.splits,
        unreadable=cfg.unreadable,
        resamples=cfg.resamples,
        extrapolate=cfg.extrapolate,
        seed=cfg.seed,
        device=cfg.device,
        batch_size=cfg.batch_size,
        cache=cfg.cache,
    ).to_json()
    print(scores_markdown(results))
    return log_evaluation(logger, cfg, results)


if __name__ == "__main__":
    main()
