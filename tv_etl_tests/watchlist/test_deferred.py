"""A deferred type reads, complains and describes itself as the type itself does."""

from functools import cache
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError, ValidationInfo

from tv_etl.watchlist.deferred import Deferred


def _within(value: int, info: ValidationInfo) -> int:
    limit = (info.context or {}).get("limit", 10)
    if value > limit:
        raise ValueError(f"expected at most {limit}")
    return value


class Circle(BaseModel):
    shape: Literal["circle"]
    radius: Annotated[int, AfterValidator(_within)]


class Square(BaseModel):
    shape: Literal["square"]
    side: Annotated[int, AfterValidator(_within)]


Shape = Annotated[Circle | Square, Field(discriminator="shape")]
loads: list[str] = []


@cache
def _load() -> TypeAdapter[Circle | Square]:
    loads.append("shape")
    return TypeAdapter(Shape)


class AtOnce(BaseModel):
    """A drawing."""

    shapes: list[Shape] = Field(default_factory=list, description="What is drawn.")


class Later(BaseModel):
    """A drawing."""

    shapes: list[Annotated[Any, Deferred(_load)]] = Field(default_factory=list, description="What is drawn.")


def test_it_is_loaded_for_the_first_value() -> None:
    _load.cache_clear()
    loads.clear()
    assert Later.model_validate({"shapes": []}).shapes == Later().shapes == []
    assert loads == []
    read = Later.model_validate({"shapes": [{"shape": "circle", "radius": 1}, Square(shape="square", side=2)]})
    assert read.shapes == [Circle(shape="circle", radius=1), Square(shape="square", side=2)]
    assert loads == ["shape"]


@pytest.mark.parametrize(
    "wrong",
    [{"shape": "circle", "radius": 4}, {"shape": "square"}, {"shape": "star"}, {"side": 1}, "circle", None],
)
def test_mistakes_are_those_of_the_type(wrong: Any) -> None:
    content = {"shapes": [{"shape": "circle", "radius": 3}, wrong]}
    found = []
    for model in (AtOnce, Later):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(content, context={"limit": 3})
        found.append(caught.value.errors(include_url=False, include_context=False))
    assert found[0] == found[1]
    assert [each["loc"][:2] for each in found[1]] == [("shapes", 1)]


def test_the_json_schema_is_that_of_the_type() -> None:
    at_once, later = (model.model_json_schema() for model in (AtOnce, Later))
    assert later == {**at_once, "title": "Later"}


def test_it_is_written_as_the_type_is() -> None:
    content = {"shapes": [{"shape": "circle", "radius": 3}]}
    assert Later.model_validate(content).model_dump() == content
