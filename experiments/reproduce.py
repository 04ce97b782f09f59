"""A table of the paper on a benchmark: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("reproduce")
def main(cfg: DictConfig) -> None:
    from pos.reproduction import reproduce

    table = reproduce(cfg)
    if table is not None:
        print(table.to_markdown())


if __name__ == "__main__":
    main()
