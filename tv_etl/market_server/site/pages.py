"""The pages of the site and of its scanner that clients read beside the WebSocket.

`/symbols/EX-SYM/` tells whether a symbol exists, `/symbol` is one symbol's quote, `/` and `/quote_token/` hand out a
token for a session's cookie, `/accounts/signin/` for a user's name. Shapes are those that clients read: tvkit 0.18.0,
@mathieuc/tradingview 3.5.2, tradingview-sdk 0.5.0, tvdatafeed 2.1.1.
"""

import html
import json
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tv_etl.market_server.accounts.accounts import User
from tv_etl.market_server.accounts.plans import ANONYMOUS
from tv_etl.market_server.market.market import BarSource
from tv_etl.market_server.sessions.world import World
from tv_etl.market_server.site.http import HttpRequest, HttpResponse, Route, plain
from tv_etl.market_server.site.screener import GLOBAL, scan

_USUAL_FIELDS = "name,description,type,exchange,currency,open,high,low,close,change,change_abs,volume"
_HTML = {"Content-Type": "text/html; charset=utf-8"}


def page_routes(world: World) -> list[Route]:
    """Every page of a market."""
    pages: list[tuple[str, str, Callable[[World, HttpRequest], HttpResponse]]] = [
        ("GET", "/", _home),
        ("GET", "/quote_token/?", _quote_token),
        ("POST", "/accounts/signin/?", _sign_in),
        ("GET", "/symbols/(?P<symbol>.+?)/?", _symbol_page),
        ("GET", "/symbol/?", _quote),
    ]
    return [Route(method, pattern, _bound(answer, world)) for method, pattern, answer in pages]


def _bound(answer: Callable[[World, HttpRequest], HttpResponse], world: World) -> Callable[[HttpRequest], HttpResponse]:
    return lambda request: answer(world, request)


# --- symbols --------------------------------------------------------------------------------------------------


def _symbol_page(world: World, request: HttpRequest) -> HttpResponse:
    source = _find(world, request.arguments["symbol"])
    if source is None:
        return plain(HTTPStatus.NOT_FOUND)
    listing = source.listing
    title = html.escape(f"{listing.ticker} — {listing.description} — {listing.exchange}")
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return HttpResponse(HTTPStatus.OK, text.encode(), _HTML)


def _quote(world: World, request: HttpRequest) -> HttpResponse:
    """The scanner's row of one symbol: the fields asked for, null where there is no such figure, or the usual ones."""
    names = request.query.get("fields", _USUAL_FIELDS).split(",")
    wanted = {
        "columns": names,
        "symbols": {"tickers": [request.query.get("symbol", "")]},
        "ignore_unknown_fields": True,
    }
    rows = scan(world, GLOBAL, json.dumps(wanted).encode())["data"]
    if rows:
        return _json(dict(zip(names, rows[0]["d"], strict=True)))
    if request.query.get("no_404") == "true":
        return _json(None)
    return _json({"code": "symbol_not_exists"}, HTTPStatus.NOT_FOUND)


def _find(world: World, name: str) -> BarSource | None:
    """A symbol written EX:SYM or EX-SYM, in upper or lower case."""
    symbol = name if ":" in name else name.replace("-", ":", 1)
    return world.find(symbol) or world.find(symbol.upper())


# --- accounts -------------------------------------------------------------------------------------------------


def _home(world: World, request: HttpRequest) -> HttpResponse:
    user = world.accounts.user_of(_session_of(request))
    profile: dict[str, Any] = {"username": "Guest", "following": "0", "followers": "0"}
    if user is not None:
        profile = _profile(user, world.accounts.token_of(user))
    script = f"var user = {json.dumps(profile, separators=(',', ':'))};"
    text = f"<!DOCTYPE html>\n<html><head><script>\n{script}\n</script></head><body></body></html>\n"
    return HttpResponse(HTTPStatus.OK, text.encode(), _HTML)


def _quote_token(world: World, request: HttpRequest) -> HttpResponse:
    user = world.accounts.user_of(_session_of(request))
    if user is None:
        return plain(HTTPStatus.FORBIDDEN)
    return _json(world.accounts.token_of(user))


def _sign_in(world: World, request: HttpRequest) -> HttpResponse:
    """Signs in a user whose name stands for a plan, as a session does, with any password."""
    form = parse_qs(request.body.decode("utf-8", "replace"))
    name, password = form.get("username", [""])[0], form.get("password", [""])[0]
    user = world.accounts.user_of(name)
    if user is None or not password:
        return _json({"error": "Invalid username or password", "code": "invalid_credentials"})
    return _json({"error": "", "user": _profile(user, world.accounts.token_of(user))})


def _profile(user: User, token: str) -> dict[str, Any]:
    plan = user.plan.wire_name
    return {
        "id": user.user_id,
        "username": user.name,
        "first_name": "",
        "last_name": "",
        "reputation": 0.0,
        "following": 0,
        "followers": 0,
        "notification_count": {"following": 0, "user": 0},
        "session_hash": "",
        "private_channel": f"private_{user.user_id}",
        "auth_token": token,
        "date_joined": "2020-01-01T00:00:00.000Z",
        "pro_plan": plan,
        "is_pro": bool(plan),
        "is_broker": False,
        "badges": [{"name": f"pro:{plan}"}] if plan else [],
        "is_realtime": user.plan.rt_update_period != ANONYMOUS.rt_update_period,
    }


def _session_of(request: HttpRequest) -> str:
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies["sessionid"].value if "sessionid" in cookies else ""


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(value))
