"""What a server says, as one bounded line that a terminal, a log and a page can show."""

import unicodedata

MAX_LENGTH = 300

# Controls, among them the escape that begins a terminal's commands; formats, which reorder or hide text (U+202E, zero
# width); half characters, private and unassigned ones; separators of lines and paragraphs.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_printable(text: str) -> bool:
    """True if every character of the text shows as itself."""
    return not any(unicodedata.category(character) in _UNPRINTABLE for character in text)


def printable(text: str, max_length: int = MAX_LENGTH) -> str:
    """The text on one line: U+FFFD for what cannot be shown, and cut where it is too long, with its length told."""
    kept = (each if unicodedata.category(each) not in _UNPRINTABLE else "\ufffd" for each in text[:max_length])
    shown = "".join(kept)
    return shown if len(text) <= max_length else f"{shown}… ({len(text):,} characters)"


def counted(count: int, noun: str) -> str:
    """E.g. `1 symbol`, `2,000 symbols`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def described(error: Exception) -> str:
    """An error that nobody expected, in a line."""
    return f"unexpected {type(error).__name__}: {printable(str(error))}"
