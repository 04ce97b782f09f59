"""Train the tokenizer of the Shapes networks: ``python experiments/train_tokenizer.py [--export FILE]``.

Every Shapes text network depends on it: after a change all of them must be trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from omegaconf import OmegaConf

from pos.config.folder import config_folder
from pos.networks.shapes.tokenizer import train_tokenizer
from pos.storage import asset, write_atomic
from pos.training.tokenizer import shapes_corpus

INSTRUCTION = config_folder() / "rewriter" / "instruction" / "paper.yaml"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--export", type=Path, default=asset("shapes/tokenizer.json"), help="the file to write"
    )
    path = parser.parse_args().export
    tokenizer = train_tokenizer(shapes_corpus(OmegaConf.load(INSTRUCTION).text))
    write_atomic(path, tokenizer.to_str(pretty=True))
    print(f"{tokenizer.get_vocab_size()} tokens -> {path}")
