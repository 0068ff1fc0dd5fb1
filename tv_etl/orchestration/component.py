"""The `dg` component: a watchlist as the attributes of a defs.yaml."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from dagster.components import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PrivateAttr, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tv_etl.orchestration.build import build_definitions
from tv_etl.watchlist.model import Group, Watchlist, WatchlistError, load_watchlist, read_documents, read_watchlist
from tv_etl.watchlist.yaml_places import Mistake, YamlDocument

_YAML = """\
type: {type_name}

attributes:
  lake: lake                                  # a directory in the project, or s3://bucket/prefix
  groups:
    - name: bars                              # the asset's name
      symbols: [NASDAQ:AAPL, BINANCE:BTCUSDT] # EXCHANGE:TICKER as TradingView writes it; or {{file: symbols.txt}}
      intervals: [1d, 1h]                     # 1m 5m 1h 4h 1d 1w 1mo ...

# Everything else has a default: see `dg list components`, or tv_etl's docs/dagster.md.
"""
_PYTHON = """\
import dagster as dg
from {module} import {name}


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> {name}:
    return {name}(
        lake="lake",  # a directory in the project, or s3://bucket/prefix
        groups=[{{"name": "bars", "symbols": ["NASDAQ:AAPL", "BINANCE:BTCUSDT"], "intervals": ["1d", "1h"]}}],
    )
"""


class TradingViewScaffolder(Scaffolder):
    """Writes a component that a beginner can edit."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        if request.scaffold_format == "python":
            module, _, name = request.type_name.rpartition(".")
            text = _PYTHON.format(module=module, name=name)
            (request.target_path / "component.py").write_text(text, encoding="utf-8")
            return
        text = _YAML.format(type_name=request.type_name)
        if request.append:
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write(f"---\n{text}")
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


@dg.scaffold_with(TradingViewScaffolder)
class TradingViewComponent(dg.Component, Watchlist):
    """A lake of TradingView bars: an asset for each group of symbols, partitioned by symbol × interval.

    The attributes are those of a watchlist, and where the lake is. Each group becomes an asset with its checks, a job
    and a schedule for each interval; alert rules become a sensor. Any value may be a template such as
    `{{ env.LAKE }}`. A project may have several components: no two of their groups may share a name.
    """

    # Dagster looks through the class while it loads one, which must not be the moment at which it is built.
    model_config = ConfigDict(defer_build=False)

    lake: str = Field(
        default="lake",
        description="Directory of the lake, relative to the project, or its address: s3://bucket/prefix.",
    )
    state: str = Field(
        default="",
        description="Local directory for the store of alerts; by default in the lake, or `tv_etl_state` if that is an "
        "address.",
    )
    ws_url: str = Field(
        default="", description="WebSocket address of the server; by default TV_ETL_WS_URL, or TradingView's."
    )
    scanner_url: str = Field(
        default="", description="Address of the screener; by default TV_ETL_SCANNER_URL, or TradingView's."
    )
    proxy: str = Field(
        default="",
        description="What everything goes through, e.g. http://user:password@host:8080 or socks5h://host:1080; by "
        "default TV_ETL_PROXY, or nothing.",
    )
    watchlist: str | None = Field(
        default=None, description="A watchlist file, relative to this one, instead of groups and alerts."
    )
    groups: list[Group] = Field(default_factory=list, description="What to collect, see Group.")
    _source: "_Source | None" = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_source(self) -> "TradingViewComponent":
        if self.watchlist is not None and self.model_fields_set & {"groups", "alerts", "notify"}:
            raise ValueError("watchlist replaces groups, alerts and notify; write one or the other")
        if self.watchlist is None and not self.groups:
            raise ValueError("groups: list at least one, or name a watchlist file")
        return self

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            tags=["tradingview", "parquet"],
            produces=["asset", "asset_check", "job", "schedule", "sensor", "resource"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return _Attributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "TradingViewComponent":
        """Raises WatchlistError with the line and column of every mistake in defs.yaml."""
        content = _render(
            context.resolution_context.at_path("attributes"), {} if attributes is None else attributes.model_dump()
        )
        tree = context.resolution_context.source_position_tree
        if tree is None:
            return read_watchlist(cls, content, _folder(context) / "attributes")
        file = Path(tree.position.filename)
        document = _document_at(read_documents(file), tree.position.start.line)
        component = read_watchlist(cls, content, file, document, ["attributes"])
        component._source = _Source(file, document)
        return component

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of `build_definitions`, such that they can be merged with those of other components."""
        watchlist = self._load_watchlist(_folder(context))
        self._check_names(watchlist, context)
        return build_definitions(
            watchlist,
            _resolve_path(context, self.lake),
            state=_resolve_path(context, self.state) if self.state else "",
            ws_url=self.ws_url,
            scanner_url=self.scanner_url,
            proxy=self.proxy,
            # Dagster itself shows where an asset of a defs.yaml is defined.
            source="" if self.watchlist is None else _folder(context) / self.watchlist,
            scope=_scope(context),
        )

    def _load_watchlist(self, folder: Path) -> Watchlist:
        return self if self.watchlist is None else load_watchlist(folder / self.watchlist)

    def _check_names(self, watchlist: Watchlist, context: dg.ComponentLoadContext) -> None:
        """Raise WatchlistError if another component of the project has a group of the same name."""
        # Without a source it was made by Python code, and Dagster itself reports that the asset is defined twice.
        others = [
            (each._source.file, {group.name for group in each._load_watchlist(each._source.file.parent).groups})
            for each in context.component_tree.get_all_components(TradingViewComponent)
            if each is not self and each._source is not None
        ]
        clashes = [
            (number, f"{group.name} is also a group of {file}; an asset has one owner: give this group another name")
            for number, group in enumerate(watchlist.groups)
            for file, names in others
            if group.name in names
        ]
        if clashes and self._source is not None:
            file, document = self._source
            places = [document.find(["attributes", "groups", number, "name"]) for number, _ in clashes]
            texts = [f"groups.{number}.name: {text}" for number, text in clashes]
            raise WatchlistError.of(file, [Mistake(*each) for each in zip(places, texts, strict=True)])


class _Source(NamedTuple):
    """Where a component is defined."""

    file: Path
    document: YamlDocument


class _Attributes(BaseModel):
    """Attributes as written in the file: `load` validates them, since only it knows their lines."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # In place, where a reference would do: whoever reads it looks for the properties.
        return handler.resolve_ref_schema(handler(TradingViewComponent.__pydantic_core_schema__))


def _render(resolution: dg.ResolutionContext, value: Any) -> Any:
    """The value with its templates filled in; plain text stays text, also where it reads like a number."""
    if isinstance(value, Mapping):
        return {key: _render(resolution.at_path(key), each) for key, each in value.items()}
    if isinstance(value, list):
        return [_render(resolution.at_path(number), each) for number, each in enumerate(value)]
    return resolution.resolve_value(value) if isinstance(value, str) and "{{" in value else value


def _document_at(documents: list[YamlDocument], line: int) -> YamlDocument:
    return min(documents, key=lambda document: abs(document.place.line - line))


def _folder(context: dg.ComponentLoadContext) -> Path:
    """Where the file that defines the component is."""
    return context.path if context.path.is_dir() else context.path.parent


def _resolve_path(context: dg.ComponentLoadContext, address: str) -> str:
    return address if "://" in address else str(context.project_root / address)


def _scope(context: dg.ComponentLoadContext) -> str:
    """A name unique to the component within the project, from its folder."""
    parts = list(_folder(context).relative_to(context.defs_module_path).parts)
    key = context.component_path.instance_key
    return re.sub(r"\W", "_", "_".join([*parts, *([str(key)] if key else [])])) or "lake"
