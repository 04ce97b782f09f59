"""Free text on Hydra's command line, quoted before Hydra parses: the program gets exactly what was typed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pos.errors import PosError

# Keys of the commands whose value is a sentence: `prompt=null` is the prompt "null".
SENTENCES = frozenset({"prompt", "negative_prompt"})
# Keys whose value is a path or a list of our own (`seeds=0,2,5`): literal too, but `null` still means "none".
LITERALS = frozenset({"prompts", "out", "videos", "cache", "export", "source", "manifest"}) | {
    "reference", "a", "b", "benchmark.prompts",
}  # fmt: skip
# The same of any choice, by the last part of the key (`pool.path`): nothing else has these names.
NESTED = frozenset({"path", "folder", "annotations", "seeds", "base_url"})

_OVERRIDE = re.compile(r"(?P<key>\+{0,2}(?P<plain>(?:[\w/@:]+\.)*(?P<name>\w+)))=(?P<value>.*)", re.DOTALL)


def prepare(arguments: Sequence[str], settings: Sequence[str] = ()) -> list[str]:
    """The arguments as Hydra needs them: options, ``settings``, then the overrides with free text quoted.

    Raises:
        PosError: a text is not valid UTF-8.
    """
    typed = [argument for argument in arguments if _is_override(argument)]
    options = [argument for argument in arguments if not _is_override(argument)]
    return [*options, *settings, *map(_prepare_one, typed)]


def _is_override(argument: str) -> bool:
    return argument.startswith("~") or ("=" in argument and not argument.startswith("-"))


def _prepare_one(argument: str) -> str:
    match = _OVERRIDE.fullmatch(argument)
    if match is None or not _is_text(match):
        return argument
    if match["plain"] not in SENTENCES and match["value"] == "null":
        return argument
    return f"{match['key']}={quote(match['value'], match['key'])}"


def _is_text(match: re.Match[str]) -> bool:
    return match["plain"] in SENTENCES | LITERALS or match["name"] in NESTED


def quote(text: str, key: str = "text") -> str:
    """A Hydra value that reads back as exactly ``text``: no sweep, no interpolation, no special words."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PosError(f"The value of '{key}' is not valid UTF-8 text.")
    if text == "???":  # OmegaConf's word for a missing value, even in quotes
        return "${oc.decode:???}"
    text = escape_interpolation(text)
    # In Hydra's quoted strings a backslash is itself, except before a quote (the closing one included).
    text = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", text)
    text = re.sub(r"\\+\Z", lambda match: match[0] * 2, text)
    return f"'{text}'"


def typed(override: str) -> tuple[str, str]:
    """The key and what was typed for it, of an override as Hydra hands it to a job of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    match = _OVERRIDE.fullmatch(override)
    if match is None:  # a deletion: ~key
        return override, ""
    if not _is_text(match):
        return match["key"], match["value"]
    value = OverridesParser.create().parse_override(override).value()
    return match["key"], "null" if value is None else str(OmegaConf.create({"text": value}).text)


def escape_interpolation(text: str) -> str:
    """A value that OmegaConf resolves to exactly ``text``: "${" begins an interpolation unless escaped."""
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
