"""Annotation files to a manifest: see --help."""

from omegaconf import DictConfig

from pos.cli import command


@command("make_manifest")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.data.benchmarks.checking import make_manifest

    make_manifest(instantiate(cfg.benchmark), cfg.out, cfg.videos, instantiate(cfg.faults))


if __name__ == "__main__":
    main()
