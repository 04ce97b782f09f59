from dataclasses import asdict

import pytest

from pos.errors import PosError
from pos.spr.engines import Reply
from pos.spr.instruction import InstructionTemplate
from pos.spr.rewriting import Guard, Rewriter, describe, summarize
from pos.storage import content_hash

TEMPLATE = InstructionTemplate("Examples:\n{examples}\nAt most {max_words} words: {prompt}\nAnswer:")
REFERENCES = ["a calm blue ring turning slowly", "video of a disc"]


class ScriptedEngine:
    """Replies from a table (prompt -> reply of each attempt), two at a time; remembers what it was asked."""

    def __init__(self, replies: dict[str, list[str | Reply]], fingerprint: str = "scripted") -> None:
        self.replies, self.fingerprint = replies, fingerprint
        self.calls: list[tuple[int, list[str]]] = []
        self.seeds: set[int] = set()

    def complete(self, instructions, *, attempt, seed):
        prompts = [text.splitlines()[-2].partition(": ")[2] for text in instructions]
        self.calls.append((attempt, prompts))
        self.seeds.add(seed)
        for start in range(0, len(prompts), 2):
            replies = [self.replies[prompt][attempt] for prompt in prompts[start : start + 2]]
            yield dict(enumerate((self.reply(said) for said in replies), start))

    def reply(self, said: str | Reply) -> Reply:
        return said if isinstance(said, Reply) else Reply(said, None, True, 10, len(said.split()), 0.5)


class WordOverlap:
    """A similarity with known answers: shared words over all words."""

    fingerprint = "overlap"

    def similarity(self, first, second):
        pairs = [(set(a.split()), set(b.split())) for a, b in zip(first, second, strict=True)]
        return [len(a & b) / len(a | b) for a, b in pairs]


def rewriter(tmp_path, engine, **guard) -> Rewriter:
    return Rewriter(
        engine, TEMPLATE, Guard(**({"max_words": 6, "min_similarity": 0.3, "retries": 1} | guard)), tmp_path
    )


def test_the_instruction_holds_examples_prompt_and_limit():
    text = TEMPLATE.render(REFERENCES, "a {red}\nring", 20)
    assert text == (
        "Examples:\n- a calm blue ring turning slowly\n- video of a disc\n"
        "At most 20 words: a {red} ring\nAnswer:"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{prompt} {max_words}", r"lacks \{examples\}"),
        ("{examples} {max_words}", r"lacks \{prompt\}"),
        ("{examples} {prompt}", r"lacks \{max_words\}"),
        ("{examples} {prompt} {max_words} {tone}", r"unknown placeholder \{tone\}"),
        ("{examples} {prompt} {max_words} {}", r"unknown placeholder \{\}"),
        ("{examples} {prompt} {max_words} {", "cannot be read"),
    ],
)
def test_a_template_with_wrong_placeholders_is_refused(text, message):
    with pytest.raises(PosError, match=message):
        InstructionTemplate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{max_words}", r"without examples lacks \{prompt\}"),
        ("{prompt}", r"without examples lacks \{max_words\}"),
        ("{examples} {prompt} {max_words}", r"without examples has an unknown placeholder \{examples\}"),
    ],
)
def test_a_template_without_examples_is_checked_too(text, message):
    with pytest.raises(PosError, match=message):
        InstructionTemplate(TEMPLATE.text, text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_words": 0}, "max_words is 0"),
        ({"min_similarity": 1.5}, "is 1.5"),
        ({"retries": -1}, "retries is -1"),
    ],
)
def test_guard_settings_outside_their_range_are_refused(wrong, message):
    with pytest.raises(PosError, match=message):
        Guard(**wrong)


def test_accepted_retried_and_refused_rewrites(tmp_path):
    engine = ScriptedEngine(
        {
            "red ring": ["a red ring"],
            "blue disc": ["", "a blue disc"],
            "one star": ["one star and many words more than six", "one star and many words more than six"],
            "old tree": ["young sea", "young sea"],
        }
    )
    prompts = list(engine.replies)
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 4, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "a blue disc", "one star", "old tree"]
    assert [rewrite.accepted for rewrite in rewrites] == [True, True, False, False]
    assert [rewrite.attempts for rewrite in rewrites] == [1, 2, 2, 2]
    assert [rewrite.reason for rewrite in rewrites] == [None, None, "too long", "dissimilar"]
    assert rewrites[0].similarity == pytest.approx(2 / 3)
    assert [rewrite.seconds for rewrite in rewrites] == [0.5, 1.0, 1.0, 1.0]
    assert summarize(rewrites) == {
        "prompts": 4,
        "accepted": 2,
        "retried": 1,
        "fallbacks": {"too long": 1, "dissimilar": 1},
        "instruction_tokens": 70,
        "reply_tokens": 3 + 3 + 2 * 8 + 2 * 2,
    }
    assert engine.calls == [(0, prompts), (1, prompts[1:])]


def test_a_rewrite_of_exactly_the_limits_is_accepted():
    guard = Guard(max_words=3, min_similarity=0.5)
    assert guard.objection("one two three", 0.5) is None
    assert guard.objection("one two three four", 0.9) == "too long"
    assert guard.objection("one", 0.499) == "dissimilar"
    assert guard.objection("", 1.0) == "empty"


def test_what_was_rewritten_is_not_asked_again(tmp_path):
    replies = {"red ring": ["a red ring"], "old tree": ["young sea", "young sea"]}
    prompts = list(replies)
    first = rewriter(tmp_path, ScriptedEngine(replies)).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    silent = ScriptedEngine({})
    assert rewriter(tmp_path, silent).rewrite(prompts[::-1], [REFERENCES] * 2, WordOverlap()) == first[::-1]
    assert silent.calls == []


@pytest.mark.parametrize("change", ["references", "engine", "limit", "template", "seed"])
def test_whatever_changes_a_rewrite_asks_again(tmp_path, change):
    rewriter(tmp_path, ScriptedEngine({"red ring": ["a red ring"]})).rewrite(
        ["red ring"], [REFERENCES], WordOverlap()
    )
    engine = ScriptedEngine(
        {"red ring": ["one red ring"]}, fingerprint="other" if change == "engine" else "scripted"
    )
    other = rewriter(tmp_path, engine, **({"max_words": 5} if change == "limit" else {}))
    if change == "template":
        other.template = InstructionTemplate("{examples}\nIn {max_words} words: {prompt}\nAnswer:")
    if change == "seed":
        other.seed = 1
    references = REFERENCES[:1] if change == "references" else REFERENCES
    assert other.rewrite(["red ring"], [references], WordOverlap())[0].text == "one red ring"
    assert engine.seeds == {other.seed}


def test_another_guard_judges_again_and_asks_nothing(tmp_path):
    engine = ScriptedEngine({"red ring": ["a red ring"], "old tree": ["sea", "sea"]})
    prompts = ["red ring", "old tree"]
    rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    silent = ScriptedEngine({})
    lenient = rewriter(tmp_path, silent, min_similarity=-1).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    assert [rewrite.text for rewrite in lenient] == ["a red ring", "sea"]
    assert [rewrite.attempts for rewrite in lenient] == [1, 1]
    hasty = rewriter(tmp_path, silent, retries=0).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    assert [rewrite.reason for rewrite in hasty] == [None, "dissimilar"]
    assert silent.calls == []


def test_prompts_that_differ_in_spaces_share_a_reply_and_not_a_fallback(tmp_path):
    engine = ScriptedEngine({"old tree": ["sea", "sea"]})
    prompts = ["old tree", "old  tree"]
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == prompts
    assert engine.calls == [(0, ["old tree"]), (1, ["old tree"])]


def test_a_killed_run_keeps_the_batches_it_finished(tmp_path):
    replies = {"red ring": ["a red ring"], "blue disc": ["a blue disc"]}
    prompts = [*replies, "old tree"]
    with pytest.raises(KeyError):  # the engine dies in the second batch
        rewriter(tmp_path, ScriptedEngine(replies)).rewrite(prompts, [REFERENCES] * 3, WordOverlap())
    engine = ScriptedEngine({"old tree": ["an old tree"]})
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 3, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "a blue disc", "an old tree"]
    assert engine.calls == [(0, ["old tree"])]


def test_a_run_killed_between_attempts_asks_only_for_what_is_missing(tmp_path):
    prompts = ["red ring", "old tree"]
    first = ScriptedEngine({"red ring": ["young sea"], "old tree": ["young sea"]})  # no second attempt
    with pytest.raises(IndexError):
        rewriter(tmp_path, first).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    engine = ScriptedEngine({"red ring": ["", "a red ring"], "old tree": ["", "sea"]})
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    assert engine.calls == [(1, prompts)]
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "old tree"]
    assert [rewrite.attempts for rewrite in rewrites] == [2, 2]
    assert rewrites[0].instruction_tokens == 20


def test_a_prompt_that_was_never_answered_falls_back_for_this_run_alone(tmp_path):
    silence = Reply(problem="no answer", answered=False)
    engine = ScriptedEngine({"red ring": [silence], "blue disc": ["young sea", silence]})
    first, prompts = rewriter(tmp_path, engine), ["red ring", "blue disc"]
    for _ in range(2):
        rewrites = first.rewrite(prompts, [REFERENCES] * 2, WordOverlap())
        assert [rewrite.text for rewrite in rewrites] == prompts
        assert [rewrite.reason for rewrite in rewrites] == ["no answer", "no answer"]
        assert [rewrite.attempts for rewrite in rewrites] == [0, 1]
    assert engine.calls == [(0, prompts), (1, ["blue disc"])]
    engine = ScriptedEngine({"red ring": ["a red ring"], "blue disc": ["", "a blue disc"]})
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 2, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "a blue disc"]
    assert engine.calls == [(0, ["red ring"]), (1, ["blue disc"])]


def test_without_a_template_the_reply_is_taken_as_it_is(tmp_path):
    class Table:
        fingerprint = "table"

        def complete(self, instructions, *, attempt, seed):  # noqa: ARG002
            yield {row: Reply(f'"{text}" is written. On a cake') for row, text in enumerate(instructions)}

    guard = Guard(min_similarity=-1)
    (rewrite,) = Rewriter(Table(), None, guard, tmp_path, 0).rewrite(["red ring"], [[]], WordOverlap())
    assert rewrite.text == '"red ring" is written. On a cake'


def test_what_became_of_the_prompts_is_told_once(tmp_path, caplog):
    caplog.set_level("INFO")
    engine = ScriptedEngine({"red ring": ["a red ring"], "old tree": ["sea", "sea"]})
    for _ in range(2):
        prompts = ["red ring", "old tree", "red ring"]
        rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 3, WordOverlap())
    assert caplog.messages == [
        "1 of 2 rewrites accepted (0 after a retry), 1 fell back to the prompt (1 dissimilar); "
        "30 tokens read, 5 written."
    ]
    assert describe(summarize([])).startswith(
        "0 of 0 rewrites accepted (0 after a retry), 0 fell back to the"
    )


def test_equal_prompts_are_rewritten_once(tmp_path):
    engine = ScriptedEngine({"red ring": ["a red ring"]})
    rewrites = rewriter(tmp_path, engine).rewrite(["red ring"] * 3, [REFERENCES] * 3, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring"] * 3
    assert engine.calls == [(0, ["red ring"])]


def test_prompts_and_references_must_match(tmp_path):
    with pytest.raises(PosError, match="1 lists of references were given for 2 prompts"):
        rewriter(tmp_path, ScriptedEngine({})).rewrite(["a", "b"], [REFERENCES], WordOverlap())


def test_a_negative_number_of_references_is_refused(tmp_path):
    with pytest.raises(PosError, match="references is -1"):
        Rewriter(ScriptedEngine({}), TEMPLATE, Guard(), tmp_path, references=-1)


def test_without_references_the_instruction_has_no_examples(tmp_path):
    alone = "At most {max_words} words, alone: {prompt}\nAnswer:"
    with pytest.raises(PosError, match="references is 0, but the instruction template has no text"):
        Rewriter(ScriptedEngine({}), TEMPLATE, Guard(), tmp_path, references=0)
    template = InstructionTemplate(TEMPLATE.text, alone)
    assert template.render([], "a red ring", 7) == "At most 7 words, alone: a red ring\nAnswer:"
    engine = ScriptedEngine({"red ring": ["a red ring"]})
    rewriter = Rewriter(engine, template, Guard(), tmp_path, references=0)
    (rewrite,) = rewriter.rewrite(["red ring"], [[]], WordOverlap())
    assert rewrite.text == "a red ring"


def test_a_rewriter_with_other_references_is_the_same_but_for_them(tmp_path):
    five = Rewriter(ScriptedEngine({}), TEMPLATE, Guard(), tmp_path, references=5, seed=3)
    two = five.referring(2)
    assert (five.references, two.references, two.seed, two.engine) == (5, 2, 3, five.engine)
    other = Rewriter(five.engine, TEMPLATE, Guard(), tmp_path, references=2, seed=3)
    assert two.fingerprint == other.fingerprint != five.fingerprint == two.referring(5).fingerprint


def test_the_fingerprint_is_that_of_older_caches(tmp_path):
    template = InstructionTemplate(TEMPLATE.text, "{prompt} {max_words}")
    rewriter = Rewriter(ScriptedEngine({}), template, Guard(), tmp_path)
    assert rewriter.fingerprint == content_hash(TEMPLATE.text, asdict(Guard()), "scripted", 5, 0)
