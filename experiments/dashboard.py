"""The dashboard of W&B: see --help."""

from pathlib import Path

from omegaconf import DictConfig

from pos.cli import command


@command("dashboard")
def main(cfg: DictConfig) -> None:
    from pos.storage import write_atomic
    from pos.tracking.dashboard import as_json, build, publish

    workspace = build(cfg.entity, cfg.project, cfg.name, cfg.wall, list(cfg.quality))
    write_atomic(Path(cfg.out), as_json(workspace))
    print(publish(workspace, cfg.mode) or cfg.out)


if __name__ == "__main__":
    main()
