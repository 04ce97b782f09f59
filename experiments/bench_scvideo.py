"""Memory and time of a training step of SCVideo at full size: see --help."""

import json

from omegaconf import DictConfig

from pos.cli import command


@command("bench_scvideo")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.profiling.training_step import measure_step

    settings = {name: value for name, value in cfg.items() if name != "network"}
    print(json.dumps(measure_step(lambda: instantiate(cfg.network), **settings), indent=1))


if __name__ == "__main__":
    main()
