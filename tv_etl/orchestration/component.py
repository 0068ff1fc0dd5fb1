"""The `dg` component: a watchlist as the attributes of a defs.yaml."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import dagster as dg
from dagster.components import Scaffolder, ScaffoldRequest
from dagster.components.core.context import ComponentDeclLoadContext
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import Self, TypeAliasType

from tv_etl.alerts.targets.target import VariableName
from tv_etl.orchestration.as_written import as_written, filled_in
from tv_etl.orchestration.asset_data import AssetData
from tv_etl.orchestration.automation import SENSOR
from tv_etl.orchestration.bars import POOL, run_bars
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.dagster_internals import resolve_fields
from tv_etl.orchestration.loaded_watchlist import (
    MISTAKES,
    LoadedWatchlist,
    StandingMistake,
    in_force,
    load_for_process,
)
from tv_etl.orchestration.outputs import StepEvent
from tv_etl.orchestration.resources import AccountVariables, BarStoreResource, LakeResources, TradingViewResource
from tv_etl.watchlist.last_good import with_symbols
from tv_etl.watchlist.model import (
    Alerts,
    Group,
    KeepDays,
    Watchlist,
    WatchlistError,
    read_documents,
    read_watchlist,
)
from tv_etl.watchlist.notify import Notify, read_notify
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


_KeyPart = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
_Text = Annotated[str, filled_in(str)]


class AccountNames(BaseModel):
    """The environment variables that hold an account: a token, or the cookies of a session."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auth_token_env: VariableName | None = Field(default=None, description="Name of the variable with the token.")
    session_id_env: VariableName | None = Field(
        default=None, description="Name of the variable with the cookie sessionid, in place of a token."
    )
    session_id_sign_env: VariableName | None = Field(
        default=None, description="Name of the variable with the cookie sessionid_sign."
    )

    @model_validator(mode="after")
    def _check(self) -> "AccountNames":
        if self.auth_token_env is None and self.session_id_env is None:
            raise ValueError("name a variable: auth_token_env, or session_id_env and session_id_sign_env")
        return self


# Dagster looks into models for what it can fill in, and refuses those whose fields have validators: not into aliases.
_Groups = TypeAliasType("_Groups", list[Group])
_Alerts = TypeAliasType("_Alerts", Alerts)
_Notify = TypeAliasType("_Notify", Annotated[Notify | None, BeforeValidator(read_notify)])
_KeepDays = TypeAliasType("_KeepDays", KeepDays)
_Account = TypeAliasType("_Account", AccountNames)
_Translation = TypeAliasType("_Translation", Annotated[TranslationFn[AssetData] | None, WithJsonSchema({})])
_KeyPrefix = TypeAliasType(
    "_KeyPrefix", Annotated[list[_KeyPart], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
)


@dg.scaffold_with(TradingViewScaffolder)
class TradingViewComponent(dg.Component, dg.Resolvable, Watchlist):
    """A lake of TradingView bars: an asset for each group of symbols, partitioned by symbol × interval.

    The attributes are those of a watchlist, where the lake is, and how its assets appear. Each group becomes an asset
    with its checks, a job and a schedule for each interval; alert rules become a sensor. Any value may be a template
    such as `{{ env.LAKE }}`. A project may have several components: with a `key_prefix` each, even their groups may be
    equal. A subclass may add attributes, and override `get_asset_spec` and `execute`.
    """

    # Dagster looks through the class while it loads one, which must not be the moment at which it is built.
    model_config = ConfigDict(defer_build=False)

    groups: Annotated[
        _Groups,
        filled_in(list[Group], examples=[[{"name": "bars", "symbols": ["NASDAQ:AAPL"], "intervals": ["1d", "1h"]}]]),
    ] = Field(default_factory=list, description="What to collect, see Group.")
    alerts: Annotated[_Alerts, filled_in(Alerts)] = Field(
        default_factory=Alerts, description="What to watch, see Alerts."
    )
    notify: Annotated[_Notify | None, filled_in(Notify | bool | None)] = Field(
        default=None,
        description="Tell on the targets of alerts when collecting fails: true for all of it, or see Notify.",
    )
    keep_history: Annotated[_KeepDays, filled_in(int)] = Field(
        default=30,
        description="Days for which Dagster keeps the runs, events and logs of the lake's own assets; what still tells "
        "how a partition stands stays. 0 deletes nothing. If it is written, the schedule prune_history is on.",
    )
    lake: _Text = Field(
        default="lake",
        description="Directory of the lake, relative to the project, or its address: s3://bucket/prefix.",
    )
    state: _Text = Field(
        default="",
        description="Local directory for the store of alerts; by default in the lake, or `tv_etl_state` if that is an "
        "address.",
    )
    ws_url: _Text = Field(
        default="", description="WebSocket address of the server; by default TV_ETL_WS_URL, or TradingView's."
    )
    scanner_url: _Text = Field(
        default="", description="Address of the screener; by default TV_ETL_SCANNER_URL, or TradingView's."
    )
    proxy: _Text = Field(
        default="",
        description="What everything goes through, e.g. http://user:password@host:8080 or socks5h://host:1080; by "
        "default TV_ETL_PROXY, or nothing.",
    )
    account: Annotated[_Account | None, filled_in(AccountNames | None)] = Field(
        default=None,
        description="An account of this lake's own: the names of the variables that hold it, see AccountNames; by "
        "default that of TV_ETL_AUTH_TOKEN or TV_ETL_SESSION_ID.",
    )
    pool: _Text = Field(
        default=POOL,
        description="Concurrency pool of the runs that fetch; lakes with different accounts may have different ones.",
    )
    watchlist: Annotated[str | None, filled_in(str | None)] = Field(
        default=None, description="A watchlist file, relative to this one, instead of groups and alerts."
    )
    key_prefix: Annotated[_KeyPrefix, filled_in(_KeyPart | list[_KeyPart])] = Field(
        default_factory=list,
        description="What the keys of all assets, and the names of their jobs, schedules, sensors and partitions, "
        "begin with: us or [us, raw]; nothing by default.",
    )
    group_name: Annotated[str | None, filled_in(str | None)] = Field(
        default=None, description="Dagster's group of the assets."
    )
    owners: Annotated[list[str] | None, filled_in(list[str] | None)] = Field(
        default=None, description="Owners of the assets, e.g. [team:quants, me@example.com]."
    )
    tags: Annotated[dict[str, str], filled_in(dict[str, str])] = Field(
        default_factory=dict, description="More tags of the assets."
    )
    kinds: Annotated[list[str] | None, filled_in(list[str] | None)] = Field(
        default=None, description="Kinds of the assets, in place of parquet and tradingview."
    )
    translation: Annotated[
        _Translation,
        TranslationFnResolver[AssetData](lambda data: {"data": data, "group": data.group}),
    ] = Field(
        default=None,
        description="What else is changed of each asset, as in Dagster's own components; {{ spec }} is the asset, "
        "{{ data.kind }} one of bars, panel, daily, alerts and lake, {{ group }} its Group.",
    )
    _source: "_Source | None" = PrivateAttr(default=None)
    _mistakes: Sequence[StandingMistake] = PrivateAttr(default=())
    _loaded: LoadedWatchlist | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_source(self) -> "TradingViewComponent":
        if self.watchlist is not None and self.model_fields_set & {"groups", "alerts", "notify", "keep_history"}:
            raise ValueError("watchlist replaces groups, alerts, notify and keep_history; write one or the other")
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
    def model(cls) -> type[BaseModel]:
        return as_written(super().model(), cls)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Raises WatchlistError with the line and column of every mistake in defs.yaml."""
        return super().load(cls.model()() if attributes is None else attributes, context)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Raises WatchlistError with the line and column of every mistake, unless the last good one stays in force."""
        tree = context.source_position_tree
        if tree is None:
            content = {**(model.model_extra or {}), **resolve_fields(model, cls, context)}
            folder = _folder(ComponentDeclLoadContext.from_resolution_context(context))
            return read_watchlist(cls, content, folder / "attributes", schema=cls._schema())
        source = _Source.of(Path(tree.position.filename), tree.position.start.line, context)
        # Kept once it is known to stand beside the other components.
        component, mistake = in_force(
            source.place, lambda: (cls._read(source, model), None), lambda content: cls._read_kept(source, content)
        )
        if mistake:
            component._mistakes = [StandingMistake(source.file, mistake, lambda: cls._mistake_at(source))]
        return component

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of `build_definitions`, such that they can be merged with those of other components."""
        return self._beside_others(context)._build(context)

    def _build(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        loaded = self._load_watchlist(_folder(context))
        return build_definitions(
            loaded.watchlist,
            _resolve_path(context, self.lake),
            state=_resolve_path(context, self.state) if self.state else "",
            ws_url=self.ws_url,
            scanner_url=self.scanner_url,
            proxy=self.proxy,
            # Dagster itself shows where an asset of a defs.yaml is defined.
            source="" if self.watchlist is None else _folder(context) / self.watchlist,
            scope=_scope(context),
            key_prefix=self.key_prefix,
            account=None if self.account is None else AccountVariables(*(name or "" for _, name in self.account)),
            pool=self.pool,
            get_asset_spec=self.get_asset_spec,
            execute=self.execute,
            mistakes=[*self._mistakes, *loaded.mistakes],
        )

    def get_asset_spec(self, data: AssetData) -> dg.AssetSpec:
        """The asset that is defined; a subclass may change it further. Its partitions are the stored series, and stay.

        By default `data.spec`, with what `group_name`, `owners`, `tags`, `kinds` and `translation` say.
        """
        given = {"group_name": self.group_name, "owners": self.owners, "kinds": self.kinds and {*self.kinds}}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        spec = data.spec.replace_attributes(**changed).merge_attributes(tags=self.tags)
        return spec if self.translation is None else self.translation(spec, data)

    def execute(
        self,
        context: dg.AssetExecutionContext,
        tradingview: TradingViewResource,
        bar_store: BarStoreResource,
        group: Group,
    ) -> Iterator[StepEvent]:
        """What a run of bars does: fetch, store and check the selected series; a subclass may do more around it."""
        yield from run_bars(context, tradingview, bar_store, group)

    @classmethod
    def _schema(cls) -> dict[str, Any]:
        return super().model().model_json_schema()

    @classmethod
    def _read(cls, source: "_Source", model: BaseModel, document: YamlDocument | None = None) -> Self:
        """The component that is in a file now, or of other attributes of the same place. Raises WatchlistError."""
        content = {**(model.model_extra or {}), **resolve_fields(model, cls, source.context)}
        places = source.document if document is None else document
        component = read_watchlist(cls, content, source.file, places, ["attributes"], cls._schema())
        component._source = source
        return component

    @classmethod
    def _read_kept(cls, source: "_Source", attributes: Mapping[str, Any]) -> Self:
        return cls._read(source, cls.model().model_validate(attributes))

    @classmethod
    def _mistake_at(cls, source: "_Source") -> str:
        """What is wrong with the file of a component now."""
        try:
            document = read_documents(source.file)[source.number]
            cls._read(source, cls.model().model_validate(_attributes(document)), document)
        except (*MISTAKES, IndexError) as error:
            return str(error)
        return ""

    def _beside_others(self, context: dg.ComponentLoadContext) -> "TradingViewComponent":
        """This component, or where it clashes with another or names no file, the last good one.

        Raises WatchlistError if there is none.
        """
        source = self._source
        if source is None or self._mistakes:
            return self

        def read() -> tuple[TradingViewComponent, Mapping[str, Any]]:
            self._check_names(self._load_watchlist(source.file.parent).watchlist, context)
            return self, with_symbols(_attributes(source.document), self.groups)

        component, mistake = in_force(source.place, read, lambda content: self._read_kept(source, content))
        if mistake:
            component._mistakes = [StandingMistake(source.file, mistake, lambda: self._mistake_at(source))]
        return component

    def _load_watchlist(self, folder: Path) -> LoadedWatchlist:
        if self.watchlist is None:
            return LoadedWatchlist(self)
        if self._loaded is None:
            self._loaded = load_for_process(folder / self.watchlist)
        return self._loaded

    def _names(self, watchlist: Watchlist) -> Iterator[tuple[str, int, str]]:
        """What no other component may have: a name, the group that it is of, and the key that is to be changed."""
        lake = LakeResources("", tuple(self.key_prefix))
        for number, group in enumerate(watchlist.groups):
            yield lake.name(group.name), number, "name"
        for number, group in enumerate(watchlist.groups):
            if group.automation:
                yield lake.name(SENSOR), number, "automation"
                break

    def _check_names(self, watchlist: Watchlist, context: dg.ComponentLoadContext) -> None:
        """Raise WatchlistError if another component of the project has a name that this one has as well."""
        # Without a source it was made by Python code, and Dagster itself reports that the asset is defined twice.
        others = [
            (
                each._source.file,
                {name for name, _, _ in each._names(each._load_watchlist(each._source.file.parent).watchlist)},
            )
            for each in context.component_tree.get_all_components(TradingViewComponent)
            if each is not self and each._source is not None
        ]
        clashes = [
            (number, key, f"{name} is also {'a group' if key == 'name' else 'the sensor'} of {file}; {_ADVICE[key]}")
            for name, number, key in self._names(watchlist)
            for file, names in others
            if name in names
        ]
        if clashes and self._source is not None:
            file, document = self._source.file, self._source.document
            places = [document.find(["attributes", "groups", number, key]) for number, key, _ in clashes]
            texts = [f"groups.{number}.{key}: {text}" for number, key, text in clashes]
            raise WatchlistError.of(file, [Mistake(*each) for each in zip(places, texts, strict=True)])


_ADVICE = {
    "name": "an asset has one owner: give this group another name, or the component a key_prefix",
    "automation": "give the component a key_prefix",
}


class _Source(NamedTuple):
    """Where a component is defined: the document of so many of its file, and by what its templates are filled in."""

    file: Path
    document: YamlDocument
    number: int
    documents: int
    context: dg.ResolutionContext

    @classmethod
    def of(cls, file: Path, line: int, context: dg.ResolutionContext) -> "_Source":
        """Raises WatchlistError."""
        documents = read_documents(file)
        number = min(range(len(documents)), key=lambda each: abs(documents[each].place.line - line))
        return cls(file, documents[number], number, len(documents), context)

    @property
    def place(self) -> str:
        """What tells the component from others: with a document more in its file, it may be any of them."""
        return f"{self.file.absolute()}#{self.number}/{self.documents}"


def _attributes(document: YamlDocument) -> Mapping[str, Any]:
    content = document.content if isinstance(document.content, dict) else {}
    return content.get("attributes") or {}


def _folder(context: dg.ComponentLoadContext | ComponentDeclLoadContext) -> Path:
    """Where the file that defines the component is."""
    return context.path if context.path.is_dir() else context.path.parent


def _resolve_path(context: dg.ComponentLoadContext, address: str) -> str:
    return address if "://" in address else str(context.project_root / address)


def _scope(context: dg.ComponentLoadContext) -> str:
    """A name unique to the component within the project, from its folder."""
    parts = list(_folder(context).relative_to(context.defs_module_path).parts)
    key = context.component_path.instance_key
    return re.sub(r"\W", "_", "_".join([*parts, *([str(key)] if key else [])])) or "lake"
