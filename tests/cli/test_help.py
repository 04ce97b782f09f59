from __future__ import annotations

from pathlib import Path

import pytest

from pos.cli.help import help_text
from pos.config.folder import ConfigFolders

CONF = Path(__file__).parents[2] / "conf"


def test_help_shows_purpose_examples_keys_defaults_and_choices(run):
    status, stdout, _ = run("-h")
    assert status == 0
    assert stdout.startswith('Show what arrives.\n\n  python experiments/show.py prompt="a b"\n')
    for line in [
        "  prompt=null         any text",
        "  nested.path=null    a path within",
        "method=plain, one of:",
        "  other  Something else is done.",
        "  plain  Nothing is done.",
        "  -m key=a,b,c ",
    ]:
        assert line in stdout, line
    assert "second paragraph" not in stdout
    assert "_self_" not in stdout


def test_what_a_choice_follows_from_is_listed_and_what_it_chooses_in_turn():
    shown = help_text(ConfigFolders(CONF), "reproduce")
    chosen = (
        "settings=shapes_shapes",
        "benchmark/defaults=shapes",
        "pool=shapes",
        "detectors=shapes",
        "profile=default",
    )
    for line in (f"{choice}, one of:" for choice in (*chosen, "study=table1")):
        assert f"\n{line}\n" in shown, line


@pytest.mark.parametrize("config", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_key_of_every_command_is_explained(config: str):
    """The help is made of the comments, so a key without one would be missing from it."""
    from omegaconf import OmegaConf

    shown = help_text(ConfigFolders(CONF), config)
    assert f"  pos {config}" in shown
    raw = OmegaConf.load(CONF / f"{config}.yaml")
    for key in raw:
        if key not in ("defaults", "hydra", "_target_") and not OmegaConf.is_dict(raw._get_node(key)):
            assert f"\n  {key}=" in shown, f"{key} in conf/{config}.yaml has no comment"
