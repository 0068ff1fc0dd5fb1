"""YAML with the places of everything in it: for messages that name the line and column of what is wrong."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

# Keys and positions in lists that lead to a value, as pydantic names it.
Location = Sequence[str | int]
# In a whole document; a watchlist of 100,000 symbols has a tenth of that.
MAX_VALUES = 1_000_000
_KEY = "[key]"  # pydantic's last part of the location of a mapping's key


@dataclass(frozen=True, order=True)
class Place:
    """A line and a column of a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Mistake:
    """What is wrong at a place."""

    place: Place
    text: str


class YamlMistake(ValueError):
    """The text is not YAML; says where and why."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(f"{mistake.place.line}:{mistake.place.column}: {mistake.text}")
        self.mistake = mistake


class YamlDocument:
    """A document of a YAML text: its content, and where each part of it is."""

    def __init__(self, content: Any, node: yaml.Node | None) -> None:
        self.content = content
        self._node = node

    @property
    def place(self) -> Place:
        """Where the document begins."""
        return Place(1, 1) if self._node is None else _place(self._node)

    def find(self, location: Location, *, of_key: bool = False) -> Place:
        """Where a value is, or its key; for what is not in the text, the nearest part that encloses it."""
        node, place = self._node, self.place
        for number, part in enumerate(location):
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            elif isinstance(node, yaml.MappingNode) and (
                pairs := [each for each in node.value if _matches(each[0], part)]
            ):
                key, node = pairs[-1]
                rest = list(location[number + 1 :])
                if rest == [_KEY] or (of_key and not rest):
                    return _place(key)
            else:
                return place
            place = _place(node)
        return place

    def repeated_keys(self) -> Iterator[Mistake]:
        """Keys that appear twice in one mapping: YAML forbids them, and parsers drop all but the last."""
        seen_nodes: set[int] = set()
        waiting = [self._node]
        while waiting:
            node = waiting.pop()
            if node is None or id(node) in seen_nodes:
                continue
            seen_nodes.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                waiting += node.value
            elif isinstance(node, yaml.MappingNode):
                lines: dict[Hashable, int] = {}
                for key, value in node.value:
                    waiting.append(value)
                    if isinstance(key, yaml.ScalarNode):
                        if key.value in lines:
                            text = f"{key.value}: the key is already on line {lines[key.value]}"
                            yield Mistake(_place(key), text)
                        lines.setdefault(key.value, _place(key).line)


def read_yaml(text: str) -> list[YamlDocument]:
    """The documents of a YAML text; at least one. Raises YamlMistake."""
    try:
        loader = yaml.SafeLoader(text)
        documents = []
        try:
            while loader.check_node():
                node = loader.get_node()
                if node is not None:
                    _check_size(node)
                documents.append(YamlDocument(loader.construct_document(node), node))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
        context = f"{error.context} that begins on line {error.context_mark.line + 1}, " if error.context_mark else ""
        raise YamlMistake(Mistake(place, f"not YAML: {context}{error.problem or error}")) from None
    except yaml.YAMLError as error:
        raise YamlMistake(Mistake(Place(1, 1), f"not YAML: {' '.join(str(error).split())}")) from None
    except YamlMistake:
        raise
    except RecursionError:
        raise YamlMistake(Mistake(Place(1, 1), "not read: it is nested too deeply")) from None
    except ValueError as error:  # e.g. a date that does not exist
        raise YamlMistake(Mistake(Place(1, 1), f"not YAML: {error}")) from None
    return documents or [YamlDocument(None, None)]


def _check_size(root: yaml.Node) -> None:
    """Raise YamlMistake where a document is too large, each alias counted as the value that it refers to.

    A few lines of aliases of aliases stand for billions of values.
    """
    sizes = dict[int, int]()  # by node; 0 while what is below is being counted
    waiting = [root]
    while waiting:
        node = waiting[-1]
        below = _children(node)
        if id(node) not in sizes:
            sizes[id(node)] = 0
            for child in below:
                if sizes.get(id(child)) == 0:
                    raise YamlMistake(Mistake(_place(child), "not read: an alias is inside the value it refers to"))
            waiting += [child for child in below if id(child) not in sizes]
            continue
        waiting.pop()
        if not sizes[id(node)]:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in below)
        if sizes[id(node)] > MAX_VALUES:
            text = f"not read: more than {MAX_VALUES:,} values, each alias counted as the value that it refers to"
            raise YamlMistake(Mistake(_place(node), text))


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return []


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _matches(key: yaml.Node, part: str | int) -> bool:
    # A bare 60 is a number in the content and a text in the node.
    return isinstance(key, yaml.ScalarNode) and key.value == str(part)
