"""What pydantic finds is said in words, with the place and what would be right."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from tv_etl.watchlist.mistakes import find_mistakes
from tv_etl.watchlist.yaml_places import read_yaml


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str = "red"
    number: int


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leaves: list[Leaf]
    root: Leaf | None = None


def texts(text: str) -> list[str]:
    document = read_yaml(text)[0]
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(document.content)
    found = find_mistakes(Tree, caught.value, document)
    return [f"{each.place.line}:{each.place.column} {each.text}" for each in found]


def test_an_unknown_key_is_told_its_nearest_neighbour() -> None:
    text = "leaves:\n  - number: 1\n    color: red\n"
    assert texts(text) == ["3:5 leaves.0.color: is no key here; did you mean colour? known are colour, number"]


def test_a_key_like_no_other_is_told_those_that_there_are() -> None:
    assert texts("leaves: []\nzzz: 1\n") == ["2:1 zzz: is no key here; known are leaves, root"]


def test_a_missing_key_stands_where_it_would_be() -> None:
    assert texts("leaves:\n  - colour: red\n") == ["2:5 leaves.0.number: is missing"]


def test_a_wrong_type_is_shown_with_what_stands_there() -> None:
    assert texts("leaves:\n  - number: many\n") == [
        "2:13 leaves.0.number: Input should be a valid integer, unable to parse string as an integer, not 'many'"
    ]


def test_what_should_be_a_mapping_is_told_its_keys() -> None:
    assert texts("leaves: [5]\n") == ["1:10 leaves.0: expected a mapping with the keys colour, number, not 5"]
    assert texts("just words") == ["1:1 file: expected a mapping with the keys leaves, root, not 'just words'"]


def test_all_mistakes_come_in_the_order_of_the_text() -> None:
    text = "leaves:\n  - {number: x, number: y}\n  - {}\nroot: {numbr: 1}\n"
    assert [line.split(" ")[0] for line in texts(text)] == ["2:17", "2:25", "3:5", "4:7", "4:8"]
