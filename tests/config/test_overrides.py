from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pos.config.overrides import escape_interpolation, prepare, quote
from pos.errors import PosError

AWKWARD = [
    "a dog, running",
    "it's",
    'say "hello"',
    "(old)",
    "a=b",
    "50% off!",
    "true",
    "null",
    "1,2",
    "3.5e2",
    "[a, b]",
    "{a: b}",
    "choice(a,b)",
    "${x}",
    "\\${x}",
    "\\\\${oc.env:HOME}",
    "$${a}",
    "${",
    "\\",
    "\\'",
    "ends in \\\\",
    " leading and trailing ",
    "\ttab and\nline",
    "???",
    "",
    "übermäßig 狗 🐕",
    "~prompt",
    "+a",
    "#1",
    "@home",
    "a: b",
    "-1",
]
# What grammars trip over, mixed at random; an argument holds neither NUL nor lone surrogates.
TEXTS = st.one_of(
    st.text(st.sampled_from(list("\\'\"${}()[],=:~@%#?! ab1.-+\n")), max_size=12),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory):
    """What a program reads under ``prompt`` when an argument is typed."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "show.yaml").write_text("prompt: null\nx: 1\n")

    def read(argument: str) -> str:
        with initialize_config_dir(str(folder), version_base="1.3"):
            cfg = compose("show", prepare([argument]))
        return OmegaConf.to_container(cfg, resolve=True)["prompt"]

    return read


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_arrives_as_it_was_typed(received, text: str):
    assert received(f"prompt={text}") == text


@given(text=TEXTS)
@settings(deadline=None, max_examples=150)
def test_any_text_survives_the_grammar_and_a_sweeps_second_reading(text: str):
    parser = OverridesParser.create()
    override = parser.parse_override(f"prompt={quote(text)}")
    assert not override.is_sweep_override()
    # A sweep writes each job's overrides as text and parses them once more.
    again = parser.parse_override(f"prompt={override.get_value_element_as_str()}")
    config = OmegaConf.create({"prompt": None, "x": 1})
    config.prompt = again.value()
    assert config.prompt == text


@given(text=TEXTS.filter(lambda text: text != "???"))
@settings(deadline=None, max_examples=150)
def test_escaped_text_resolves_to_itself(text: str):
    assert OmegaConf.create({"out": escape_interpolation(text)}).out == text


def test_prefixes_and_nested_keys_are_quoted_too():
    assert prepare(["++prompt=a, b", "+pool.path=a b", "videos=x=y"]) == [
        "++prompt='a, b'",
        "+pool.path='a b'",
        "videos='x=y'",
    ]


def test_other_keys_are_left_to_hydra():
    arguments = ["method.eta=0,0.5,1", "x=[1,2]", "prompting=a,b", "~pool", "+experiment=shapes/clip"]
    assert prepare(arguments) == arguments


def test_a_name_that_is_a_commands_own_is_free_in_its_choices():
    """A number stays a number, and a sweep over it a sweep."""
    arguments = ["task.accuracy.prompts=4", "profile.prompts=4,8", "+subject.source=1.5"]
    assert prepare(arguments) == arguments
    assert prepare(["benchmark.prompts=a, b.csv", "pool.annotations=null", "profile.seeds=0,2"]) == [
        "benchmark.prompts='a, b.csv'",
        "pool.annotations=null",
        "profile.seeds='0,2'",
    ]


def test_null_is_a_prompt_but_no_path():
    assert prepare(["prompt=null", "prompts=null"]) == ["prompt='null'", "prompts=null"]


def test_options_come_first_wherever_they_are_typed():
    assert prepare(["x=1,2", "-m", "prompt=a", "--cfg", "job"], ["s=1"]) == [
        "-m",
        "--cfg",
        "job",
        "s=1",
        "x=1,2",
        "prompt='a'",
    ]


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(PosError, match="'prompt' is not valid UTF-8"):
        prepare(["prompt=caf\udce9"])
