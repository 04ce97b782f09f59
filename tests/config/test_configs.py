"""Every configuration composes, and every node of it fits the constructor it names."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from pos.cli.commands import COMMANDS as COMMANDS_OF_POS
from pos.cli.commands import NOT_ARGUMENTS
from pos.config.folder import ConfigFolders
from pos.config.overrides import prepare
from pos.method import Method
from pos.study.rows import Row

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))


def options(group: str) -> list[str]:
    return [f"{group}={choice}" for choice in ConfigFolders(CONF).options(group)]


LIGHT = {
    "pos.data.benchmarks.protocol.Protocol",
    "pos.data.video.faults.Faults",
    "pos.diffusion.levels.Schedule",
    "pos.evaluation.frames.FrameChoice",
    "pos.method.Method",
    "pos.ona.reconstruction.Check",
    "pos.spr.instruction.InstructionTemplate",
    "pos.spr.rewriting.Guard",
    "pos.study.rows.Row",
    "pos.study.rows.Shard",
    "pos.training.task.Optimization",
}
"""Constructors that read no file and build no network."""

CASES = [
    *((command, "") for command in COMMANDS),
    *(
        ("generate", choice)
        for group in ("backbone", "method", "pool", "rewriter", "npnet")
        for choice in options(group)
    ),
    *(
        ("reproduce", choice)
        for group in ("study", "profile", "benchmark", "settings", "benchmark/defaults")
        for choice in options(group)
    ),
    *(("evaluate", choice) for group in ("benchmark", "detectors") for choice in options(group)),
    *(("make_manifest", choice) for choice in options("benchmark")),
    *(("convert", choice) for choice in options("weights")),
    *(("bench_generate", choice) for choice in options("model")),
    *(("train", choice) for choice in options("trainer")),
    *(
        (command, choice)
        for command in ("generate", "evaluate", "reproduce", "train")
        for choice in options("logger")
    ),
    *(("train", f"+{choice}") for choice in options("experiment")),
    *(
        ("reproduce", f"study/{group}@{group}={name}")
        for group in ("language_models", "pool_sizes")
        for name in ("paper", "shapes")
    ),
    *(("bench_scvideo", choice) for choice in options("network")),
]


@functools.cache
def composed(command: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, prepare([override for override in overrides if override]))


def nodes(config: DictConfig, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """(path, node) of everything that names a constructor."""
    if "_target_" in config:
        yield path or "the root", config
    for key in config:
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from nodes(child, f"{path}.{key}".strip("."))


@pytest.mark.parametrize(("command", "choice"), CASES)
def test_every_node_has_only_keys_that_its_constructor_knows(command: str, choice: str):
    found = list(nodes(composed(command, choice)))
    for path, node in found:
        target = get_object(node._target_)
        parameters = inspect.signature(target).parameters
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        unknown = {key for key in node if not key.startswith("_")} - set(parameters)
        unknown -= NOT_ARGUMENTS if path == "the root" else set()
        assert not unknown, f"{path} ({node._target_}) does not take {sorted(unknown)}"


@pytest.mark.parametrize(("command", "choice"), CASES)
def test_every_node_that_needs_no_weights_and_no_data_can_be_built(command: str, choice: str):
    config = composed(command, choice)
    for path, node in nodes(config):
        if node._target_ in LIGHT and not OmegaConf.missing_keys(node):
            own = {name: None for name in ("rewriter", "pool") if name in node}  # a row's own loads files
            assert instantiate(node, **own) is not None, path


@pytest.mark.parametrize("study", options("study"))
def test_every_study_has_its_rows(study: str):
    rows = composed("reproduce", study).study.rows
    built = [instantiate(row, rewriter=None, pool=None) for row in rows.values()]
    assert all(isinstance(row, Row) for row in built)
    assert built or study == "study=figure2"


@pytest.mark.parametrize("benchmark", options("benchmark"))
def test_table_4d_compares_two_language_models_that_follow_from_the_benchmark(benchmark: str):
    rows = composed("reproduce", "study=table4d", benchmark).study.rows
    own = ["small_model", "grammar"] if benchmark == "benchmark=shapes" else ["llama2", "openai"]
    assert list(rows) == ["baseline", *own]


@pytest.mark.parametrize("benchmark", options("benchmark"))
def test_table_4a_has_the_papers_pools_on_the_papers_benchmarks(benchmark: str):
    rows = composed("reproduce", "study=table4a", benchmark).study.rows
    sizes = [row.pool_size for key, row in rows.items() if key != "baseline"]
    own = [100, 500, 2_000, 10_000]
    assert sizes == (own if benchmark == "benchmark=shapes" else [10_000, 100_000, 1_000_000, 10_000_000])


def test_table_4c_studies_the_rewriting_alone():
    rows = composed("reproduce", "study=table4c", "benchmark=msrvtt", "backbone=scvideo").study.rows
    methods = [row.method for key, row in rows.items() if key != "baseline"]
    assert {(method.noise, method.rewrite, method.gamma) for method in methods} == {("none", True, 1)}


@pytest.mark.parametrize("choice", options("settings"))
def test_settings_are_complete_and_can_be_overridden(choice: str):
    settings = composed("reproduce", choice, "settings.eta=0.7").settings
    assert set(settings) == {"eta", "gamma", "eta_star", "gamma_star", "source"}
    assert settings.eta == 0.7


@pytest.mark.parametrize(
    ("backbone", "benchmark", "values", "source"),
    [
        ("shapes", "shapes", (0.1, 0.5, 0.2, 0.5), "chosen on the validation prompts of Shapes"),
        ("modelscope", "shapes", (0.3, 0.1, 0.2, 0.1), "the defaults"),
        ("modelscope", "ucf101", (0.2, 1.0, 0.5, 0.1), "as published, Tables 1 and 2 of arXiv 2311.00949."),
        ("videocrafter", "msrvtt", (0.3, 0.1, 0.2, 0.1), "as published for the backbone, Table 1"),
        ("sdxl", "coco", (0.05, 0.4, 0.2, 0.1), "as published for image models, Table 3"),
    ],
)
def test_settings_follow_backbone_and_benchmark(
    backbone: str, benchmark: str, values: tuple[float, ...], source: str
):
    settings = composed("reproduce", f"backbone={backbone}", f"benchmark={benchmark}").settings
    assert tuple(settings[key] for key in ("eta", "gamma", "eta_star", "gamma_star")) == values
    assert settings.source.startswith(source)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_interpolation_resolves(command: str):
    config = copy.deepcopy(composed(command))
    missing = OmegaConf.missing_keys(config)
    for key in missing:
        OmegaConf.update(config, key, "given")
    OmegaConf.resolve(config)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_script(command: str):
    script = (ROOT / "experiments" / f"{command}.py").read_text()
    assert f"from pos.cli.commands import {command} as main\n" in script
    assert command in COMMANDS_OF_POS
    assert len(script.splitlines()) < 10


def test_every_folder_of_choices_is_tested():
    tested = {choice.lstrip("+").split("=")[0] for _, choice in CASES if choice}
    tested = {group.split("/")[0] for group in tested}
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == tested


@pytest.mark.parametrize(
    ("name", "inverts", "predicts", "rewrites"),
    [
        ("baseline", False, False, False),
        ("ona", True, False, False),
        ("spr", False, False, True),
        ("pos", True, False, True),
        ("pos_star", False, True, True),
        ("ona_diffused", False, False, False),
        ("pos_diffused", False, False, True),
    ],
)
def test_the_methods_are_the_rows_of_the_papers_tables(
    name: str, inverts: bool, predicts: bool, rewrites: bool
):
    method = instantiate(composed("generate", f"method={name}").method)
    assert isinstance(method, Method)
    assert (method.inverts, method.predicts, method.rewrites) == (inverts, predicts, rewrites)
    assert method.diffuses == name.endswith("diffused")
    assert method.ddim_eta == 0


@pytest.mark.parametrize(
    ("method", "key"),
    [
        *(
            ("ona_diffused", key)
            for key in ("signal=2", "level=0.5", "neighbour=random", "clips=5", "vary=seed")
        ),
        *(("pos", key) for key in ("dither=true", "neighbour=random", "vary=seed")),
    ],
)
def test_what_chooses_the_clips_is_a_key_of_its_method(method: str, key: str):
    name, value = key.split("=")
    chosen = composed("generate", f"method={method}", f"method.{key}").method
    assert str(chosen[name]).lower() == value
    assert getattr(instantiate(chosen), name) == chosen[name]
