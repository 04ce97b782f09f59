"""Train a network: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("train")
def main(cfg: DictConfig) -> dict[str, float]:
    from pos.training.runner import refresh, train

    return (refresh if cfg.refresh else train)(cfg)


if __name__ == "__main__":
    main()
