"""Train a network, for instance: python experiments/train.py +experiment=shapes/judge"""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> None:
    from pos.training.runner import refresh, train

    (refresh if config.refresh else train)(config)


if __name__ == "__main__":
    main()
