"""Command lines: a mistake is one line that names it; help shows the defaults that there are."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

# As the library's errors write one: `checkpoint`, `twin=False`.
_PARAMETER = re.compile(r"`([a-z][a-z_]*)(=False)?`")


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Adds ``(default: …)`` where there is a default and the help does not tell it itself.

    Flags and values that have hyphens stay whole.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default == [] or "default" in (action.help or ""):
            return action.help
        if isinstance(default, list):
            words = " ".join(map(str, default)).replace("%", "%%")
            return f"{action.help} (default: {words})"
        return super()._get_help_string(action)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one line and exit code 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")

    def arguments(self) -> Sequence[argparse.Action]:
        """All that it takes, each with its spellings."""
        return tuple(self._actions)

    # A misspelled flag may be a required one, which argparse would call missing.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        flags = [flag for action in self._actions for flag in action.option_strings]
        own = self._own(words)
        commands = self._commands()
        for word in words[len(own) :][:1]:
            if word != "--" and commands and word not in commands:
                near = did_you_mean(word, commands) or "."
                self.error(f"there is no command {word}{near} There are {', '.join(commands)}")
        for word in own:
            name = word.partition("=")[0]
            # Whatever begins with "--" is a flag to argparse, unless it has a blank.
            if name.startswith("--") and " " not in word and name not in flags:
                self.error(f"there is no option {name}{did_you_mean(name, flags)}")
        return super().parse_known_args(words, namespace)

    def _own(self, words: Sequence[str]) -> Sequence[str]:
        """The words that are this parser's: those before a command or ``--``."""
        has_commands = bool(self._commands())
        for place, word in enumerate(words):
            if word == "--" or (has_commands and not word.startswith("-")):
                return words[:place]
        return words

    def _commands(self) -> Sequence[str]:
        parser_choices = (
            a.choices for a in self._actions if isinstance(a, argparse._SubParsersAction)
        )
        return [name for choices in parser_choices for name in choices]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """``; did you mean --model?`` with the known names that are like this one, or nothing."""
    longer = sorted(other for other in known if other.startswith(name))
    near = longer or difflib.get_close_matches(name, known, cutoff=0.7)
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


def with_flags(text: str, options: argparse.Namespace) -> str:
    """The library's text for who typed a command: ``--kafka-topic`` for `` `kafka_topic` ``.

    The library's errors name its parameters; only those that the command has become flags, and
    ```twin=False` `` becomes ``--no-twin``.

    >>> with_flags("`checkpoint` /c is in use; `labels` too", argparse.Namespace(checkpoint="/c"))
    '--checkpoint /c is in use; `labels` too'
    """

    def flag(parameter: re.Match[str]) -> str:
        name = f"no_{parameter[1]}" if parameter[2] else parameter[1]
        return f"--{name.replace('_', '-')}" if hasattr(options, name) else parameter[0]

    return _PARAMETER.sub(flag, text)
