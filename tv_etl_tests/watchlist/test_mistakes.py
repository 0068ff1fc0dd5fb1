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
    found = find_mistakes(Tree.model_json_schema(), caught.value, document)
    return [f"{each.place.line}:{each.place.column} {each.text}" for each in found]


def test_for_an_unknown_key_the_nearest_one_is_suggested() -> None:
    text = "leaves:\n  - number: 1\n    color: red\n"
    assert texts(text) == ["3:5 leaves.0.color: is not a known key; did you mean colour? known keys: colour, number"]


def test_for_a_key_like_no_other_the_known_keys_are_listed() -> None:
    assert texts("leaves: []\nzzz: 1\n") == ["2:1 zzz: is not a known key; known keys: leaves, root"]


def test_a_missing_key_is_reported_where_it_would_be() -> None:
    assert texts("leaves:\n  - colour: red\n") == ["2:5 leaves.0.number: is missing"]


def test_a_wrong_type_is_shown_with_the_value_found() -> None:
    assert texts("leaves:\n  - number: many\n") == [
        "2:13 leaves.0.number: Input should be a valid integer, unable to parse string as an integer, not 'many'"
    ]


def test_for_what_should_be_a_mapping_its_keys_are_listed() -> None:
    assert texts("leaves: [5]\n") == ["1:10 leaves.0: expected a mapping with the keys colour, number, not 5"]
    assert texts("just words") == ["1:1 file: expected a mapping with the keys leaves, root, not 'just words'"]


def test_all_mistakes_come_in_the_order_of_the_text() -> None:
    text = "leaves:\n  - {number: x, number: y}\n  - {}\nroot: {numbr: 1}\n"
    assert [line.split(" ")[0] for line in texts(text)] == ["2:17", "2:25", "3:5", "4:7", "4:8"]
