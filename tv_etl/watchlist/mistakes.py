"""What pydantic found wrong with a YAML document, worded for the person who wrote it."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tv_etl.watchlist.yaml_places import Location, Mistake, YamlDocument

_MAX_SHOWN = 60  # characters of a wrong value


def find_mistakes(
    schema: Mapping[str, Any], error: ValidationError, document: YamlDocument | None, at: Location = ()
) -> list[Mistake]:
    """Each mistake with its place, in the order of the text; `at` is where a model with the schema begins in it."""
    document = document or YamlDocument(None, None)
    found = []
    for details in error.errors():
        location = _written(schema, details)
        place = document.find([*at, *location], of_key=details["type"] == "extra_forbidden")
        found.append(Mistake(place, f"{'.'.join(map(str, location)) or 'file'}: {_describe(schema, details)}"))
    return sorted([*found, *document.repeated_keys()], key=lambda each: each.place)


def _written(schema: Mapping[str, Any], details: ErrorDetails) -> list[str | int]:
    """The location as it is written: pydantic adds which of several models a mapping was read as."""
    written: list[str | int] = []
    nodes: list[Any] = [schema]
    for part in details["loc"]:
        models = [_models(schema, node) for node in nodes]
        if any(part in each for each in models):
            nodes = [each[part] for each in models if part in each]
            continue
        written.append(part)
        nodes = list(_below(schema, nodes, part))
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        written.append(_tag(details))
    return written


def _tag(details: ErrorDetails) -> str:
    return str(details.get("ctx", {}).get("discriminator", "")).strip("'")


def _models(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[Any, Any]:
    """The models among which a word of the mapping chooses, by that word."""
    return {
        word: {"$ref": reference}
        for each in _alternatives(schema, node, into_models=False)
        for word, reference in each.get("discriminator", {}).get("mapping", {}).items()
    }


def _describe(schema: Mapping[str, Any], details: ErrorDetails) -> str:
    location, value = details["loc"], details["input"]
    if details["type"] == "union_tag_not_found":
        return "is missing"
    if details["type"] == "union_tag_invalid":
        context = details.get("ctx", {})
        return f"expected {str(context['expected_tags']).replace(chr(39), '')}, not {_shorten(context['tag'])}"
    if details["type"] == "extra_forbidden":
        return _unknown_key(str(location[-1]), _known_keys(schema, location[:-1]))
    if details["type"] == "missing":
        return "is missing"
    if details["type"] in ("model_type", "model_attributes_type", "dict_type"):
        known = ", ".join(_known_keys(schema, location))
        return f"expected a mapping{f' with the keys {known}' if known else ''}, not {_shorten(value)}"
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "value_error" or details["type"] == "mistake" or isinstance(value, dict | list):
        return message
    return f"{message}, not {_shorten(value)}"


def _unknown_key(key: str, known: list[str]) -> str:
    nearest = get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]}?" if nearest else ";"
    return f"is not a known key{hint} known keys: {', '.join(known)}"


def _known_keys(schema: Mapping[str, Any], location: Location) -> list[str]:
    """The keys that a mapping at the location may have."""
    nodes = list(_alternatives(schema, schema))
    for part in location:
        models = [_models(schema, node) for node in nodes]
        chosen = [each[part] for each in models if part in each]
        nodes = list(_alternatives(schema, chosen[0])) if chosen else list(_below(schema, nodes, part))
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))


def _below(
    schema: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]], part: str | int
) -> Iterator[Mapping[str, Any]]:
    for node in nodes:
        for each in _alternatives(schema, node):
            child = each.get("items") if isinstance(part, int) else each.get("properties", {}).get(part)
            if child:
                yield from _alternatives(schema, child, into_models=False)


def _alternatives(
    schema: Mapping[str, Any], node: Mapping[str, Any], *, into_models: bool = True
) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][str(node["$ref"]).rpartition("/")[2]], into_models=into_models)
    elif "else" in node:  # a template, or this
        yield from _alternatives(schema, node["else"], into_models=into_models)
    elif "anyOf" in node or ("oneOf" in node and into_models):
        for each in node.get("anyOf", node.get("oneOf", ())):
            yield from _alternatives(schema, each, into_models=into_models)
    else:
        yield node


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
