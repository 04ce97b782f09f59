"""Speed of the metrics beside the packages that they follow: see --help."""

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pos.cli import command


@command("bench_metrics")
def main(cfg: DictConfig) -> None:
    from pos.profiling.metrics import MetricsBench, bench_metrics

    settings = OmegaConf.to_container(cfg)
    out = Path(settings.pop("out"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as rows:
        for row in bench_metrics(MetricsBench(**settings)):
            print(line := json.dumps(row), flush=True)
            print(line, file=rows, flush=True)


if __name__ == "__main__":
    main()
