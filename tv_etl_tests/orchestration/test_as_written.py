"""A template may stand for any value; what is none is described as if there were no templates."""

from typing import Annotated

import dagster as dg
from jsonschema import Draft202012Validator
from pydantic import Field

from tv_etl.orchestration.as_written import as_written, filled_in


class Part(dg.Model):
    count: int = 1
    words: list[str] = Field(default_factory=list)


class Whole(dg.Resolvable, dg.Model):
    """Somebody's attributes."""

    part: Annotated[Part, filled_in(Part)]
    text: Annotated[str, filled_in(str)] = "x"

    @classmethod
    def model(cls) -> type[dg.Model]:
        return as_written(super().model(), cls)  # type: ignore[return-value]


def wrong(content: object) -> list[tuple[list[str | int], str]]:
    errors = Draft202012Validator(Whole.model().model_json_schema()).iter_errors(content)
    return [(list(each.absolute_path), each.message) for each in errors]


def test_a_template_may_stand_anywhere() -> None:
    for part in ("{{ p }}", {"count": "{{ 1 }}"}, {"words": "{% if a %}{% endif %}"}, {"words": ["a", "{{ b }}"]}):
        assert wrong({"part": part, "text": "60"}) == []


def test_other_text_is_judged_at_its_place() -> None:
    assert wrong({"part": "p"}) == [(["part"], "'p' is not of type 'object'")]
    assert wrong({"part": {"count": "one", "word": 1}, "texts": 1}) == [
        ([], "Additional properties are not allowed ('texts' was unexpected)"),
        (["part"], "Additional properties are not allowed ('word' was unexpected)"),
        (["part", "count"], "'one' is not of type 'integer'"),
    ]


def test_text_stays_text_and_templates_are_filled_in() -> None:
    context = dg.ResolutionContext.default().with_scope(n=7)
    raw = Whole.model().model_validate({"part": {"count": "{{ n }}", "words": ["60", "{{ n }}s"]}, "text": "60"})
    whole = Whole.resolve_from_model(context, raw)
    assert whole == Whole(part=Part(count=7, words=["60", "7s"]), text="60")
