"""Real clips to reference statistics: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("make_reference")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.data.benchmarks.manifest import Manifest
    from pos.evaluation.run import make_reference

    benchmark = instantiate(cfg.benchmark) if cfg.manifest is None else Manifest.load(cfg.manifest)
    make_reference(
        benchmark,
        instantiate(cfg.detectors),
        cfg.out,
        videos=cfg.videos,
        frames=instantiate(cfg.frames).of(benchmark, "real"),
        unreadable=cfg.unreadable,
        device=cfg.device,
        batch_size=cfg.batch_size,
        cache=cfg.cache,
    )


if __name__ == "__main__":
    main()
