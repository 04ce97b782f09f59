"""Published pickles to safetensors: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("convert")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.conversion.run import convert

    for path in convert(instantiate(cfg.kind), cfg.source, cfg.out):
        print(path)


if __name__ == "__main__":
    main()
