"""The last watchlist that a file held without a mistake, kept beside what else a server remembers.

It holds everything that the definitions are built from: also the symbols that were in files of their own.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tv_etl.watchlist.model import Watchlist

_FOLDER = "tv_etl_watchlists"


class LastGood:
    """What a watchlist file held when it was last read without a mistake."""

    def __init__(self, directory: Path, file: Path) -> None:
        digest = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:16]
        self.path = directory / _FOLDER / f"{digest}.yaml"

    def load(self) -> Watchlist | None:
        """None if nothing is kept, or nothing that can be read."""
        try:
            return Watchlist.model_validate(yaml.safe_load(self.path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError):
            return None

    def keep(self, watchlist: Watchlist, content: Mapping[str, Any]) -> None:
        """Keep the content that was read as this watchlist. Raises OSError; then nothing older is kept either."""
        text = yaml.safe_dump(_with_symbols(watchlist, content), allow_unicode=True)
        with suppress(OSError, UnicodeDecodeError):
            if self.path.read_text(encoding="utf-8") == text:
                return
        written = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(text, encoding="utf-8")
            written.replace(self.path)
        except OSError:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            raise


def _with_symbols(watchlist: Watchlist, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the symbols of each group in place of the file that they are in."""
    groups = [
        {**written, "symbols": group.symbols} if group.symbols else written
        for group, written in zip(watchlist.groups, content["groups"], strict=True)
    ]
    return {**content, "groups": groups}
