"""The `dg` component: a watchlist as the attributes of a defs.yaml."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
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
from tv_etl.orchestration.bars import POOL, run_bars
from tv_etl.orchestration.build import build_definitions
from tv_etl.orchestration.component_names import ComponentNames
from tv_etl.orchestration.component_scaffolder import TradingViewScaffolder
from tv_etl.orchestration.component_source import ComponentSource
from tv_etl.orchestration.dagster_internals import resolve_fields
from tv_etl.orchestration.loaded_watchlist import LoadedWatchlist, StandingMistake, load_for_process
from tv_etl.orchestration.outputs import StepEvent
from tv_etl.orchestration.resources import AccountVariables, BarStoreResource, TradingViewResource
from tv_etl.watchlist.last_good import with_symbols
from tv_etl.watchlist.model import (
    Alerts,
    Group,
    KeepDays,
    Watchlist,
    read_watchlist,
)
from tv_etl.watchlist.notify import Notify, read_notify

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
    _source: ComponentSource | None = PrivateAttr(default=None)
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
        source = ComponentSource.of(Path(tree.position.filename), tree.position.start.line, context)
        # Kept once it is known to stand beside the other components.
        component, mistakes = source.in_force(lambda: (cls._resolve(source, model), None), cls._read)
        component._mistakes = mistakes
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
    def _resolve(cls, source: ComponentSource, model: BaseModel) -> Self:
        """The component of attributes that stand at a place. Raises WatchlistError."""
        content = {**(model.model_extra or {}), **resolve_fields(model, cls, source.context)}
        component = read_watchlist(cls, content, source.file, source.document, ["attributes"], cls._schema())
        component._source = source
        return component

    @classmethod
    def _read(cls, source: ComponentSource, attributes: Mapping[str, Any]) -> Self:
        return cls._resolve(source, cls.model().model_validate(attributes))

    def _beside_others(self, context: dg.ComponentLoadContext) -> "TradingViewComponent":
        """This component, or where it clashes with another or names no file, the last good one.

        Raises WatchlistError if there is none.
        """
        source = self._source
        if source is None or self._mistakes:
            return self

        def read() -> tuple[TradingViewComponent, Mapping[str, Any]]:
            names = self._names(source)
            others = context.component_tree.get_all_components(TradingViewComponent)
            # Without a source it was made by Python code, and Dagster itself reports that the asset is defined twice.
            names.check(each._names(each._source) for each in others if each is not self and each._source)
            return self, with_symbols(source.attributes, self.groups)

        component, mistakes = source.in_force(read, self._read)
        component._mistakes = mistakes
        return component

    def _names(self, source: ComponentSource) -> ComponentNames:
        return ComponentNames(source, self._load_watchlist(source.file.parent).watchlist, self.key_prefix)

    def _load_watchlist(self, folder: Path) -> LoadedWatchlist:
        if self.watchlist is None:
            return LoadedWatchlist(self)
        if self._loaded is None:
            self._loaded = load_for_process(folder / self.watchlist)
        return self._loaded


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
