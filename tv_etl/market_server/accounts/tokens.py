"""The tokens that `set_auth_token` takes: JWTs that the server signs and recognises. Sans I/O.

The claims are those of the recordings (PROTOCOL.md §2.1); only the signature differs: HMAC with a key of the
server's own, where TradingView signs with RSA.
"""

import base64
import hashlib
import hmac
import json
import math
from typing import Any

from tv_etl.market_server.accounts.plans import PLANS, Plan

LIFETIME_S = 14_400.0  # exp - iat of the recordings

_ALGORITHM = "HS512"


class BadTokenError(ValueError):
    """A token that this server did not sign, or that has expired."""


def mint_token(key: bytes, user_id: int, plan: Plan, now: float, lifetime_s: float = LIFETIME_S) -> str:
    """A token for a user of a plan from `now` on (UTC seconds)."""
    claims = {
        "user_id": user_id,
        "exp": math.ceil(now + lifetime_s),
        "iat": int(now),
        "plan": plan.wire_name,
        "ext_hours": int(plan.rt_update_period == 0),
        "perm": "",
        "study_perm": "",
        "max_studies": plan.series_per_session,
        "max_fundamentals": 0,
        "max_charts": plan.series_per_session,
        "max_active_alerts": 0,
        "max_study_on_study": 0,
        "fields_permissions": [],
        "max_connections": plan.max_connections or 1,
    }
    body = f"{_encoded(json.dumps({'alg': _ALGORITHM, 'typ': 'JWT'}).encode())}.{_encoded(json.dumps(claims).encode())}"
    return f"{body}.{_signature(key, body)}"


def read_token(key: bytes, token: str, now: float) -> dict[str, Any]:
    """The claims of a token. Raises BadTokenError if it is not ours, or expired at `now` (UTC seconds)."""
    body, _, signature = token.rpartition(".")
    if not token.isascii() or not hmac.compare_digest(signature.encode(), _signature(key, body).encode()):
        raise BadTokenError("not signed by this server")
    encoded = body.partition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    if claims["exp"] <= now:
        raise BadTokenError("expired")
    assert isinstance(claims, dict)
    return claims


def plan_of(claims: dict[str, Any]) -> Plan:
    """The plan that a token is for; `basic` has no name on the wire."""
    return next(
        (plan for plan in PLANS.values() if plan.wire_name and plan.wire_name == claims["plan"]), PLANS["basic"]
    )


def _signature(key: bytes, body: str) -> str:
    return _encoded(hmac.digest(key, body.encode(), hashlib.sha512))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
