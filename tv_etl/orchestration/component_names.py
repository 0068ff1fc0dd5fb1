"""What the components of a project must not call the same: their groups' assets, and the sensor that is one of each."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tv_etl.orchestration.automation import SENSOR
from tv_etl.orchestration.component_source import ComponentSource
from tv_etl.orchestration.resources import LakeResources
from tv_etl.watchlist.model import Watchlist, WatchlistError
from tv_etl.watchlist.yaml_places import Mistake

_ADVICE = {
    "name": "an asset has one owner: give this group another name, or the component a key_prefix",
    "automation": "give the component a key_prefix",
}


class ComponentNames(NamedTuple):
    """The names of a component that no other may have."""

    source: ComponentSource
    watchlist: Watchlist
    key_prefix: Sequence[str]

    def check(self, others: Iterable["ComponentNames"]) -> None:
        """Raise WatchlistError if another component of the project has a name that this one has as well."""
        taken = [(other.source.file, {name for name, _, _ in other._each()}) for other in others]
        clashes = [
            (number, key, f"{name} is also {'a group' if key == 'name' else 'the sensor'} of {file}; {_ADVICE[key]}")
            for name, number, key in self._each()
            for file, names in taken
            if name in names
        ]
        if clashes:
            places = [self.source.document.find(["attributes", "groups", number, key]) for number, key, _ in clashes]
            texts = [f"groups.{number}.{key}: {text}" for number, key, text in clashes]
            raise WatchlistError.of(self.source.file, [Mistake(*each) for each in zip(places, texts, strict=True)])

    def _each(self) -> Iterator[tuple[str, int, str]]:
        """A name, the group that it is of, and the key that is to be changed."""
        lake = LakeResources("", tuple(self.key_prefix))
        for number, group in enumerate(self.watchlist.groups):
            yield lake.name(group.name), number, "name"
        for number, group in enumerate(self.watchlist.groups):
            if group.automation:
                yield lake.name(SENSOR), number, "automation"
                break
