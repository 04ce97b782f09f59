"""Is it the content of the inverted noise that helps, or that mixing it in makes the noise quieter?

    python experiments/study_quiet_noise.py [--deviations 1 0.74 0.52] [--prompts 64] [--steps 10]

The plain model of Shapes on validation prompts from base noise scaled to these deviations, each compared to
the first. Prints a line a metric: value, difference from the first and its 95% interval.
"""

from __future__ import annotations

import argparse

import torch

import pos
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.noise import base_noise
from pos.evaluation.detectors.shapes import shapes_detectors
from pos.evaluation.extraction import extract
from pos.evaluation.reference import Reference
from pos.evaluation.score import compare, score
from pos.metrics.registry import registered
from pos.storage import asset

BATCH = 16

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--deviations", type=float, nargs="+", default=[1.0, 0.74, 0.52, 0.29])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    pipeline = pos.load_pipeline("method=baseline")
    backbone, detectors = pipeline.backbone, shapes_detectors()
    benchmark = ShapesBenchmark("validation", size=arguments.prompts)
    reference = Reference.load(asset(benchmark.reference_asset))
    ids, texts = zip(*[(prompt.id, prompt.text) for prompt in benchmark.prompts], strict=True)
    shape = backbone.latent_shape(pipeline.frames, pipeline.height, pipeline.width)
    baseline = None
    for deviation in arguments.deviations:
        videos = []
        for start in range(0, len(ids), BATCH):
            rows = slice(start, start + BATCH)
            eps = deviation * base_noise(shape, ids[rows], [0] * len(ids[rows]))
            condition = backbone.encode_text(texts[rows])
            empty = backbone.encode_text([""]).repeat(len(condition))
            guided = Guided(backbone.predict, lambda _, c=condition: c, empty, pipeline.guidance)
            latents = sample(guided, eps.to(backbone.device), backbone.levels(arguments.steps))
            videos.append(backbone.decode(latents))
        scored = score(extract(torch.cat(videos), ids, texts, detectors), reference)
        baseline = baseline or scored
        differences = compare(scored, baseline)
        for name in [metric.name for metric in registered("paper")] + ["accuracy"]:
            value, change = scored.estimates[name].value, differences[name]
            print(
                f"{deviation} {name} {value:.3f}, {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
            )
