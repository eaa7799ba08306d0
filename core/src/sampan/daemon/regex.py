"""Regular expressions sent by clients: Docker's dialect (RE2), which takes time linear in the text.

Python's own can take exponential time with a hostile pattern, and all clients would have to wait.
"""

from __future__ import annotations

_WORDS = {  # where the messages of C++ differ from Go's (re2/re2.cc, regexp/syntax/parse.go)
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
}


class Regex:
    """A regular expression. Raises `ValueError` with Go's message if the text is not valid."""

    def __init__(self, text: str) -> None:
        import re2  # noqa: PLC0415  it holds 3 MB that most daemons never need

        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as error:
            raise ValueError(_in_words_of_go(error.args[0].decode(errors="replace"))) from None

    def is_found_in(self, text: str) -> bool:
        """Whether it matches anywhere in `text`."""
        return self._compiled.search(text.encode(errors="replace").decode()) is not None


def _in_words_of_go(words: str) -> str:
    what, colon, where = words.partition(": ")
    return f"{_WORDS.get(what, what)}: `{where}`" if colon else words
