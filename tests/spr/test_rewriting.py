import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.errors import PosError
from pos.spr.rewriting import Guard, InstructionTemplate, Rewriter, clean_reply, summarize

TEMPLATE = InstructionTemplate("Examples:\n{examples}\nAt most {max_words} words: {prompt}\nAnswer:")
REFERENCES = ["a calm blue ring turning slowly", "video of a disc"]


class ScriptedEngine:
    """Replies from a table (prompt -> reply of each attempt) and remembers what it was asked."""

    def __init__(
        self, replies: dict[str, list[str]], fingerprint: str = "scripted", batch_size: int = 2
    ) -> None:
        self.replies, self.fingerprint, self.batch_size = replies, fingerprint, batch_size
        self.calls: list[tuple[int, list[str]]] = []
        self.seeds: set[int] = set()

    def complete(self, instructions, *, attempt, seed):
        prompts = [text.splitlines()[-2].partition(": ")[2] for text in instructions]
        self.calls.append((attempt, prompts))
        self.seeds.add(seed)
        return [self.replies[prompt][attempt] for prompt in prompts]


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
    assert rewrites[0].seconds == rewrites[1].seconds > 0
    assert summarize(rewrites) == {
        "prompts": 4,
        "accepted": 2,
        "retried": 1,
        "fallbacks": {"too long": 1, "dissimilar": 1},
    }
    assert engine.calls == [
        (0, ["red ring", "blue disc"]),
        (1, ["blue disc"]),
        (0, prompts[2:]),
        (1, prompts[2:]),
    ]


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


@pytest.mark.parametrize("change", ["references", "engine", "guard", "template", "k", "seed", "encoder"])
def test_whatever_changes_a_rewrite_asks_again(tmp_path, change):
    rewriter(tmp_path, ScriptedEngine({"red ring": ["a red ring"]})).rewrite(
        ["red ring"], [REFERENCES], WordOverlap()
    )
    engine = ScriptedEngine(
        {"red ring": ["one red ring"]}, fingerprint="other" if change == "engine" else "scripted"
    )
    other = rewriter(tmp_path, engine, **({"max_words": 5} if change == "guard" else {}))
    encoder = WordOverlap()
    if change == "template":
        other.template = InstructionTemplate("{examples}\nIn {max_words} words: {prompt}\nAnswer:")
    if change == "k":
        other.k = 3
    if change == "seed":
        other.seed = 1
    if change == "encoder":
        encoder.fingerprint = "other"
    references = REFERENCES[:1] if change == "references" else REFERENCES
    assert other.rewrite(["red ring"], [references], encoder)[0].text == "one red ring"
    assert engine.seeds == {other.seed}


def test_a_killed_run_keeps_the_batches_it_finished(tmp_path):
    replies = {"red ring": ["a red ring"], "blue disc": ["a blue disc"]}
    prompts = [*replies, "old tree"]
    with pytest.raises(KeyError):  # the engine dies in the second batch
        rewriter(tmp_path, ScriptedEngine(replies)).rewrite(prompts, [REFERENCES] * 3, WordOverlap())
    engine = ScriptedEngine({"old tree": ["an old tree"]})
    rewrites = rewriter(tmp_path, engine).rewrite(prompts, [REFERENCES] * 3, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "a blue disc", "an old tree"]
    assert engine.calls == [(0, ["old tree"])]


def test_equal_prompts_are_rewritten_once(tmp_path):
    engine = ScriptedEngine({"red ring": ["a red ring"]})
    rewrites = rewriter(tmp_path, engine).rewrite(["red ring"] * 3, [REFERENCES] * 3, WordOverlap())
    assert [rewrite.text for rewrite in rewrites] == ["a red ring"] * 3
    assert engine.calls == [(0, ["red ring"])]


def test_prompts_and_references_must_match(tmp_path):
    with pytest.raises(PosError, match="1 lists of references were given for 2 prompts"):
        rewriter(tmp_path, ScriptedEngine({})).rewrite(["a", "b"], [REFERENCES], WordOverlap())


def test_no_reference_is_refused(tmp_path):
    with pytest.raises(PosError, match="k is 0"):
        Rewriter(ScriptedEngine({}), TEMPLATE, Guard(), tmp_path, k=0)


SENTENCE = "A small red ring moves left, slowly."


@pytest.mark.parametrize(
    "reply",
    [
        SENTENCE,
        f"  {SENTENCE}\n\nI kept the meaning.",
        f'"{SENTENCE}"',
        f"“{SENTENCE}”",
        f"1. {SENTENCE}",
        f"- {SENTENCE}",
        f"* **{SENTENCE}**",
        f"Rewritten sentence: {SENTENCE}",
        f'Sure, here is the rewritten sentence: "{SENTENCE}"',
        f"Sure! Here's a rewritten version of the sentence:\n\n{SENTENCE}",
        f"Certainly!\n{SENTENCE}",
        f"Here is the sentence, rewritten in at most 20 words:\n\n- '{SENTENCE}'",
        f"\n\nAnswer: {SENTENCE}\n",
    ],
)
def test_the_sentence_is_found_in_a_reply(reply):
    assert clean_reply(reply) == SENTENCE


@pytest.mark.parametrize("reply", ["", "\n \n", '""', "Sure!", "Rewritten sentence:", '"'])
def test_a_reply_that_says_nothing_is_empty(reply):
    assert clean_reply(reply) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "Sure-footed goats climb a rock.",
        "Here is a dog running on grass",
        "50% off! a sale sign",
        "The dog's tail, 3.5 metres long",
        "Sentence structure on a blackboard: old",
        "'70s music and a dancer in the '80s",
    ],
)
def test_an_ordinary_sentence_is_left_alone(sentence):
    assert clean_reply(sentence) == sentence


@given(st.text(max_size=80))
def test_cleaning_any_text_gives_one_line_of_words_that_were_there(reply):
    cleaned = clean_reply(reply)
    assert cleaned == " ".join(cleaned.split())
    assert set(cleaned) <= set(reply) | {" "}
