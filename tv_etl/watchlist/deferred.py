"""Types of a model's fields that are loaded when a value of them is read, and not with the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Deferred:
    """Metadata of a field, such as `Annotated[Any, Deferred(load)]`: `load` imports the type that it really has.

    Mistakes and the JSON schema are those of the type.
    """

    load: Callable[[], TypeAdapter[Any]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.load().core_schema)

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        return self.load().validate_python(value, context=info.context)
