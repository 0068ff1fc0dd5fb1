"""What pydantic found wrong with a YAML document, worded for the person who wrote it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tv_etl.watchlist.yaml_places import Location, Mistake, YamlDocument

_MAX_SHOWN = 60  # characters of a wrong value


def find_mistakes(
    model: type[BaseModel], error: ValidationError, document: YamlDocument | None, at: Location = ()
) -> list[Mistake]:
    """Each mistake with its place, in the order of the text; `at` is where the model begins in the document."""
    schema = model.model_json_schema()
    document = document or YamlDocument(None, None)
    found = []
    for details in error.errors():
        is_type = details["type"] == "union_tag_invalid"
        location = _in_text([*at, *details["loc"], *(["type"] if is_type else [])], document.content)
        shown = ".".join(map(str, location[len(at) :])) or "file"
        place = document.find(location, of_key=details["type"] == "extra_forbidden")
        found.append(Mistake(place, f"{shown}: {_describe(schema, details)}"))
    return sorted([*found, *document.repeated_keys()], key=lambda each: each.place)


def _in_text(location: Location, content: Any) -> list[str | int]:
    """The location without the alternative that a mapping's `type` has chosen, which pydantic puts into it."""
    kept: list[str | int] = []
    for part in location:
        if isinstance(content, Mapping) and part not in content and content.get("type") == part:
            continue
        kept.append(part)
        is_there = isinstance(content, Mapping) or (isinstance(content, list) and isinstance(part, int))
        try:
            content = content[part] if is_there else None
        except (LookupError, TypeError):
            content = None
    return kept


def _describe(schema: Mapping[str, Any], details: ErrorDetails) -> str:
    location, value = details["loc"], details["input"]
    if details["type"] == "extra_forbidden":
        return _unknown_key(str(location[-1]), _known_keys(schema, location[:-1]))
    if details["type"] == "missing":
        return "is missing"
    if details["type"] in ("model_type", "model_attributes_type", "dict_type"):
        known = ", ".join(_known_keys(schema, location))
        return f"expected a mapping{f' with the keys {known}' if known else ''}, not {_shorten(value)}"
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_type(details, _known_types(schema, location))
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "value_error" or details["type"] == "mistake" or isinstance(value, dict | list):
        return message
    return f"{message}, not {_shorten(value)}"


def _unknown_key(key: str, known: list[str]) -> str:
    nearest = get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]}?" if nearest else ";"
    return f"is not a known key{hint} known keys: {', '.join(known)}"


def _unknown_type(details: ErrorDetails, known: list[str]) -> str:
    value, kinds = details["input"], f"known types: {', '.join(known)}"
    if "type" not in value:
        return f"the key type is missing; {kinds}"
    nearest = get_close_matches(str(value["type"]), known, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]}?" if nearest else ";"
    return f"{_shorten(value['type'])} is not a known type{hint} {kinds}"


def _known_types(schema: Mapping[str, Any], location: Location) -> list[str]:
    """The alternatives that the `type` of a mapping at the location may choose."""
    nodes = _nodes(schema, location)
    return [each for node in nodes for each in node.get("discriminator", {}).get("mapping", {})]


def _known_keys(schema: Mapping[str, Any], location: Location) -> list[str]:
    """The keys that a mapping at the location may have."""
    return list(dict.fromkeys(key for node in _nodes(schema, location) for key in node.get("properties", {})))


def _nodes(schema: Mapping[str, Any], location: Location) -> list[Mapping[str, Any]]:
    nodes = list(_alternatives(schema, schema))
    for part in location:
        chosen = [node["discriminator"]["mapping"].get(part) for node in nodes if "discriminator" in node]
        if any(chosen):
            nodes = [each for ref in chosen if ref for each in _alternatives(schema, {"$ref": ref})]
            continue
        below = [node.get("items") if isinstance(part, int) else _property(node, part) for node in nodes]
        nodes = [alternative for node in below if node for alternative in _alternatives(schema, node)]
    return nodes


def _property(node: Mapping[str, Any], key: str) -> Any:
    return node.get("properties", {}).get(key)


def _alternatives(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][str(node["$ref"]).rpartition("/")[2]])
    elif "anyOf" in node:
        for each in node["anyOf"]:
            yield from _alternatives(schema, each)
    else:
        yield node


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
