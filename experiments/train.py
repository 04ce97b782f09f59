"""Train a network: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("train")
def main(cfg: DictConfig) -> None:
    from pos.training.runner import refresh, train

    (refresh if cfg.refresh else train)(cfg)


if __name__ == "__main__":
    main()
