"""Two evaluated folders to a verdict: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("compare")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.evaluation.compare import compare_folders

    verdicts = compare_folders(
        cfg.a,
        cfg.b,
        instantiate(cfg.benchmark),
        reference=cfg.reference,
        resamples=cfg.resamples,
        seed=cfg.seed,
    )
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
