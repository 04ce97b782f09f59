"""The sentence in a reply: chat models wrap it in small talk, labels, lists, quotes and second thoughts."""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters of a reply that are looked at; a rewrite has some hundred."""

_REPLY = (
    r"(?:rewritten|rewrite|revised|revision|reworded|sentence|version|answer|output|prompt|caption|paraphrase|"
    r"result|option|suggestion|attempt)"
)
_ADJECTIVES = r"(?:(?:the|my|a|rewritten|revised|reworded|new|possible)\s+)*"
_NUMBER = r"(?:\s*\d+)?(?:\s*\([^()]*\))?"
_TALK = re.compile(
    r"^(?:sure(?: thing)?|certainly|absolutely|of course|okay|ok|great|got it|understood|no problem)"
    r"[,!.:]\s*",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"^(?:i(?:.d|.ll|.ve| would| will| can| have)\b[^.!:]*\b(?:help|happy|glad|rewr\w+)\b[^.!:]*|"
    r"happy to help|let me\b[^.!:]*)[.!:]\s*",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"^(?:here(?:.s| is| are)\b[^:]*\b{_REPLY}s?\b[^:]*|here (?:you go|it is|goes)|"
    rf"{_ADJECTIVES}{_REPLY}{_NUMBER}):\s*",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"^\W*(?:the\s+)?(?:rewritten|revised|reworded|new)\s+(?:sentence|prompt|caption|version)\W*:",
    re.IGNORECASE | re.MULTILINE,
)
_MARKER = re.compile(r"^(?:[-*•]\s+|\(?\d{1,2}[.)]\s+)")
_COUNT = re.compile(r"\s*[(\[](?:word count:\s*)?\d+(?:\s*words?)?[)\]]\.?$", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_END = re.compile("[.!?][\"'\u201d\u2019\u00bb]?(?=\\s+(?:\\d{1,2}[.)]\\s)?[\"'(\u201c\u2018\u00ab]?[A-Z])")
_SHORT = frozenset({"mr", "mrs", "ms", "dr", "st", "mt", "prof", "vs", "no", "approx"})
_REFUSAL = re.compile(
    r"^(?:unfortunately, )?(?:i.m (?:very )?sorry|i am (?:very )?sorry|sorry,|i apologi[sz]e|as an ai\b|"
    r"i (?:cannot|can.t|could not|am unable|am not able|will not|won.t)\b)",
    re.IGNORECASE,
)


def clean_reply(reply: str) -> str:
    """The first sentence of a reply that says something, without all that stands around it; one line."""
    said = reply.rpartition("</think>")[2]  # what a reasoning model thought before it
    text = "".join(c if c.isprintable() or c.isspace() else " " for c in said[:LONGEST])
    answer = _ANSWER.search(text)  # what stands before it repeats the question
    for line in text[answer.end() if answer else 0 :].splitlines():
        sentence = _sentence(one_line(line))
        if sentence:
            return sentence
    return ""


def is_refusal(sentence: str) -> bool:
    """Whether a cleaned reply declines to rewrite."""
    return _REFUSAL.match(sentence) is not None


def one_line(text: str) -> str:
    """A text with single spaces where it had any white space."""
    return " ".join(text.split())


def _sentence(line: str) -> str:
    text, before = line.replace("**", ""), None
    while text != before:
        before = text
        for talk in (_TALK, _OFFER, _LABEL):
            text = talk.sub("", text)
    text = _COUNT.sub("", _MARKER.sub("", text)).strip()
    text = _first_sentence(_unquoted(text))
    return "" if text in _QUOTES else text


def _unquoted(text: str) -> str:
    """What stands in the quotation marks around a text, or in those that a remark follows."""
    closing = _QUOTES.get(text[:1])
    if closing is None:
        return text
    inside, found, remark = text[1:].partition(closing)
    if closing in "'\u2019":  # an apostrophe too: only as the last character it closes
        inside, found, remark = text[1:-1], text[1:].endswith(closing), ""
    ends = not remark or inside.endswith((".", "!", "?")) or remark.lstrip().startswith(("(", "["))
    return _unquoted(inside.strip()) if found and ends else text


def _first_sentence(text: str) -> str:
    for end in _END.finditer(text):
        word = text[: end.start()].rpartition(" ")[2].lower()
        if len(word) > 1 and "." not in word and word not in _SHORT:
            return text[: end.end()]
    return text
