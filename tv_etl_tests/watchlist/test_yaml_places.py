"""Every part of a YAML text has a line and a column."""

import pytest

from tv_etl.watchlist.yaml_places import Mistake, Place, YamlMistake, read_yaml

TEXT = """\
groups:
  - name: a
    symbols: [A:B,
              C:D]
    schedules: {60: x}
  - &second
    name: b
again: *second
"""


@pytest.mark.parametrize(
    ("location", "line", "column"),
    [
        ([], 1, 1),
        (["groups", 0, "name"], 2, 11),
        (["groups", 0, "symbols", 1], 4, 15),
        (["groups", 0, "schedules", "60"], 5, 21),
        (["groups", 0, "schedules", "60", "[key]"], 5, 17),
        (["again", "name"], 7, 11),
        (["groups", 0, "nowhere", "at all"], 2, 5),
        (["groups", 7], 2, 3),
    ],
)
def test_a_location_has_its_place_or_that_of_what_encloses_it(
    location: list[str | int], line: int, column: int
) -> None:
    assert read_yaml(TEXT)[0].find(location) == Place(line, column)


def test_a_key_has_a_place_of_its_own() -> None:
    assert read_yaml(TEXT)[0].find(["groups", 0, "name"], of_key=True) == Place(2, 5)


def test_a_repeated_key_is_found_even_deep_inside() -> None:
    document = read_yaml("a: 1\nb:\n  - {c: 1, c: 2}\na: 3\n")[0]
    assert sorted(document.repeated_keys(), key=lambda each: each.place) == [
        Mistake(Place(3, 12), "c: the key is already on line 3"),
        Mistake(Place(4, 1), "a: the key is already on line 1"),
    ]


def test_an_alias_inside_of_what_it_stands_for_is_refused() -> None:
    with pytest.raises(YamlMistake, match=r"^1:4: not read: an alias is inside the value it refers to$"):
        read_yaml("a: &x {b: *x}")


def test_aliases_count_as_what_they_stand_for() -> None:
    """Ten lines that stand for ten thousand million values are refused before any of them is made."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(YamlMistake, match="more than 1,000,000 values, each alias counted"):
        read_yaml("\n".join(lines))
    [document] = read_yaml("a: &a [1, 2]\nb: [*a, *a]")
    assert document.content == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(YamlMistake, match="nested too deeply"):
        read_yaml("[" * 20_000)


def test_each_document_begins_at_its_own_line() -> None:
    documents = read_yaml("a: 1\n---\nb: 2\n")
    assert [document.place.line for document in documents] == [1, 3]
    assert [document.content for document in documents] == [{"a": 1}, {"b": 2}]


def test_an_empty_text_is_one_empty_document() -> None:
    (document,) = read_yaml("# nothing\n")
    assert (document.content, document.find(["groups"])) == (None, Place(1, 1))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1,\nb: 2\n", Place(3, 1)),
        ("a: 1\n\tb: 2", Place(2, 1)),
        ("a: 2026-13-45", Place(1, 1)),
        ("\x00", Place(1, 1)),
    ],
)
def test_what_is_not_yaml_is_reported_with_its_place(text: str, place: Place) -> None:
    with pytest.raises(YamlMistake) as caught:
        read_yaml(text)
    assert caught.value.mistake.place == place
    assert caught.value.mistake.text.startswith("not YAML: ")
