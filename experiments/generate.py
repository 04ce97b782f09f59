"""Prompts to videos: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("generate")
def main(cfg: DictConfig) -> None:
    from pos.generation import run

    run(cfg)


if __name__ == "__main__":
    main()
