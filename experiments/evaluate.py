"""Videos to metrics: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("evaluate")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.data.manifest import Manifest
    from pos.metrics.run import evaluate
    from pos.reporting.tables import scores_markdown

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
        seed=cfg.seed,
        device=cfg.device,
        batch_size=cfg.batch_size,
        cache=cfg.cache,
    )
    print(scores_markdown(results))


if __name__ == "__main__":
    main()
