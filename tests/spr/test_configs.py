from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate

from pos.spr.rewriting import Rewriter
from pos.training.rewriter import export_language_model, language_model

CONF = Path(__file__).parents[2] / "conf"


def configure(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("generate", overrides=[*overrides])


def test_the_shapes_rewriter_is_built_from_its_configuration(tmp_path):
    export_language_model(language_model(width=32, layers=1, heads=2, feed_forward=32), tmp_path / "model")
    config = configure(
        f"cache={tmp_path}", f"rewriter.engine.model={tmp_path / 'model'}", "rewriter.references=3"
    )
    rewriter = instantiate(config.rewriter)
    assert isinstance(rewriter, Rewriter)
    assert (rewriter.references, rewriter.guard.max_words) == (3, 20)
    assert rewriter.engine.temperatures == (0.0, 0.7)
    instruction = rewriter.template.render(["a blue disc", "a star"], "a red ring", 20)
    for part in ("- a blue disc\n- a star\n", "Sentence: a red ring\n", "at most 20 words"):
        assert part in instruction


@pytest.mark.parametrize("references", [0, 1, 10])
def test_a_server_is_built_from_its_configuration(tmp_path, references):
    config = configure(f"cache={tmp_path}", "rewriter=openai", f"rewriter.references={references}")
    rewriter = instantiate(config.rewriter)
    assert rewriter.engine.model == "gpt-3.5-turbo"
    assert rewriter.references == references
    examples = [f"caption {number}" for number in range(references)]
    instruction = rewriter.template.render(examples, "a red ring", 20)
    assert instruction.count("caption") == references
    assert ("examples" in instruction) == (references > 0)
    assert "ewrite the sentence a red ring without changing the meaning" in instruction


@pytest.mark.parametrize("name", ["openai", "llama2"])
def test_the_instruction_is_the_papers_word_for_word(name):
    """arXiv 2311.00949, section 5.2."""
    template = instantiate(configure(f"rewriter={name}").rewriter.template)
    references = ["[Ref1]", "[Ref2]", "[Ref3]", "[Ref4]", "[Ref5]"]
    assert template.render(references, "[Input Text Prompt]", 20) == (
        "Let me give you 5 examples: [Ref1], [Ref2], [Ref3], [Ref4], [Ref5], rewrite the sentence [Input "
        "Text Prompt] without changing the meaning of the original sentence to a maximum of 20 words, "
        "imitating/combining the adjectives, adverbs or sentence patterns from the 5 examples above"
    )


def test_a_table_is_built_from_its_configuration(tmp_path):
    (tmp_path / "mine.csv").write_text("prompt,rewrite\na,b\n")
    path = f"rewriter.engine.path={tmp_path / 'mine.csv'}"
    rewriter = instantiate(configure(f"cache={tmp_path}", "rewriter=file", path).rewriter)
    assert rewriter.engine.rewrites == {"a": "b"}
    assert (rewriter.template, rewriter.references, rewriter.guard.retries) == (None, 0, 0)


def test_every_rewriter_has_the_same_guard():
    guards = [configure(f"rewriter={name}").rewriter.guard for name in ("shapes", "openai", "llama2", "file")]
    assert {(guard.max_words, guard.min_similarity) for guard in guards} == {(20, 0.25)}


def test_no_rewriter_is_null():
    assert configure("rewriter=none").rewriter is None


@pytest.mark.parametrize("key", ["rewriter.guard.min_similarty=0.3", "rewriter.engine.temprature=1"])
def test_a_misspelt_key_is_refused(key):
    with pytest.raises(ConfigCompositionException, match=key.split("=")[0]):
        configure(key)
