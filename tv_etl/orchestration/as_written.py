"""Attributes of a component as they stand in its file: any value may be a template, and each mistake has its place.

Dagster derives a model from the fields of a component, which checks the file before anything is filled in, and says
what is wrong in its own way. Here that model only describes: `dg check yaml` sees types and known keys with a template
allowed anywhere, and what is filled in is judged by the component itself.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.form_config import UNSET_DEFAULT_SENTINEL
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

# What a template may be a part of; text without one stays text, also where it reads like a number.
_TEMPLATE = {"type": "string", "pattern": r"\{[{%]"}


def _fill_in(resolution: dg.ResolutionContext, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill_in(resolution.at_path(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_fill_in(resolution.at_path(number), each) for number, each in enumerate(value)]
    return resolution.resolve_value(value) if isinstance(value, str) and ("{{" in value or "{%" in value) else value


class _AsWritten:
    """A value of some type as it stands in the file: described as that type, and judged once it is filled in."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_template(handler(TypeAdapter(self._kind).core_schema))


def filled_in(kind: Any, **described: Any) -> dg.Resolver:
    """Resolves a field of that type, in any part of which a template may stand."""
    as_written: Any = Annotated[Any, _AsWritten(kind)]
    return dg.Resolver(_fill_in, model_field_type=as_written, inject_before_resolve=False, **described)


@cache
def as_written(derived: type[BaseModel], component: type[BaseModel]) -> type[BaseModel]:
    """The attributes as they stand in the file: `resolve_from_model` tells what is wrong, since only it knows lines."""

    class Attributes(derived):  # type: ignore[misc, valid-type]
        model_config = ConfigDict(extra="allow")

        @classmethod
        def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
            # In place, where a reference would do: whoever reads it looks for the properties.
            schema = handler.resolve_ref_schema(handler(core))
            schema["additionalProperties"] = False
            for name, field in component.model_fields.items():
                # Dagster keeps those of resolvers only.
                schema["properties"][name] |= {"description": field.description} if field.description else {}
            _allow_templates(schema, handler, set())
            return schema

    return Attributes


def _allow_templates(schema: JsonSchemaValue, handler: GetJsonSchemaHandler, seen: set[int]) -> None:
    """Let a template stand for any value below; what is none is judged as before, with the place of each mistake."""
    if "$ref" in schema:
        schema = handler.resolve_ref_schema(schema)
    if id(schema) in seen:
        return
    seen.add(id(schema))
    if "oneOf" in schema:
        # The word that chooses may be a template.
        schema["anyOf"] = schema.pop("oneOf")
    for alternative in (*schema.get("anyOf", ()), *([schema["else"]] if "else" in schema else [])):
        _allow_templates(alternative, handler, seen)
    properties = schema.get("properties", {})
    places = [*((properties, name) for name in properties), (schema, "items"), (schema, "additionalProperties")]
    for container, name in places:
        each = container.get(name)
        if isinstance(each, dict):
            _allow_templates(each, handler, seen)
            container[name] = _or_template(each)


def _or_template(schema: JsonSchemaValue) -> JsonSchemaValue:
    described = {name: schema[name] for name in ("title", "description", "default", "examples") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in described}
    if described.get("default") == UNSET_DEFAULT_SENTINEL:
        del described["default"]
    alternatives = rest.get("anyOf", [rest])
    known = [each for each in alternatives if each.get("if") == _TEMPLATE]
    if known:
        rest = known[0]  # without the text that Dagster itself allows in place of any value
    elif rest and {"type": "string"} not in alternatives:
        rest = {"if": _TEMPLATE, "else": rest}
    return described | rest
