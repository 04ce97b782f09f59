"""Speed, memory and accuracy of generation beside diffusers: see --help."""

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pos.cli import command


@command("bench_generate")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.profiling.generation import GenerationBench, bench_generate

    settings = OmegaConf.to_container(cfg)
    subject = instantiate(settings.pop("subject"))
    device, out = settings.pop("device"), Path(settings.pop("out"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as rows:
        for row in bench_generate(subject, GenerationBench(**settings), device):
            print(line := json.dumps(row), flush=True)
            print(line, file=rows, flush=True)


if __name__ == "__main__":
    main()
