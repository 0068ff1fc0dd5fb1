"""Where a component is defined: a document of a defs.yaml, which may have a last good content."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from tv_etl.orchestration.loaded_watchlist import MISTAKES, StandingMistake, in_force
from tv_etl.watchlist.model import AnyWatchlist, read_documents
from tv_etl.watchlist.yaml_places import YamlDocument


class ComponentSource(NamedTuple):
    """Where a component is defined: the document of so many of its file, and by what its templates are filled in."""

    file: Path
    document: YamlDocument
    number: int
    documents: int
    context: dg.ResolutionContext

    @classmethod
    def of(cls, file: Path, line: int, context: dg.ResolutionContext) -> "ComponentSource":
        """The document nearest to a line. Raises WatchlistError."""
        documents = read_documents(file)
        number = min(range(len(documents)), key=lambda each: abs(documents[each].place.line - line))
        return cls(file, documents[number], number, len(documents), context)

    @property
    def place(self) -> str:
        """What tells the component from others: with a document more in its file, it may be any of them."""
        return f"{self.file.absolute()}#{self.number}/{self.documents}"

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes as they are written, with their templates."""
        content = self.document.content if isinstance(self.document.content, dict) else {}
        return content.get("attributes") or {}

    def in_force(
        self,
        read: Callable[[], tuple[AnyWatchlist, Mapping[str, Any] | None]],
        read_attributes: Callable[["ComponentSource", Mapping[str, Any]], AnyWatchlist],
    ) -> tuple[AnyWatchlist, Sequence[StandingMistake]]:
        """The component that this process of Dagster's is to go by, and why if it is not what `read` gives.

        `read` gives the component and its attributes, which are kept unless they are None; `read_attributes` makes one
        of kept attributes, or of those that the file has later. Raises what `read` raises if nothing is kept, or if a
        mistake must be an error.
        """
        component, mistake = in_force(self.place, read, lambda kept: read_attributes(self, kept))
        if not mistake:
            return component, ()
        return component, [StandingMistake(self.file, mistake, lambda: self._mistake_now(read_attributes))]

    def _mistake_now(self, read_attributes: Callable[["ComponentSource", Mapping[str, Any]], object]) -> str:
        try:
            now = self._replace(document=read_documents(self.file)[self.number])
            read_attributes(now, now.attributes)
        except (*MISTAKES, IndexError) as error:
            return str(error)
        return ""
