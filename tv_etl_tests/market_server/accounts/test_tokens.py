import base64
import json

import pytest

from tv_etl.market_server.accounts.plans import PLANS
from tv_etl.market_server.accounts.tokens import BadTokenError, mint_token, plan_of, read_token
from tv_etl.tradingview.accounts import AuthToken

KEY = b"k" * 64
NOW = 1_795_197_600.0


def forged(token: str, **claims: object) -> str:
    """The token with other claims under its old signature."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) | claims
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip('=')}.{signature}"


@pytest.mark.parametrize("name", [name for name in PLANS if name != "anonymous"])
def test_a_token_says_whose_it_is_and_of_which_plan(name: str) -> None:
    claims = read_token(KEY, mint_token(KEY, 7, PLANS[name], NOW), NOW + 14_399)
    assert (claims["user_id"], plan_of(claims).name) == (7, name)
    assert claims["exp"] - claims["iat"] == 14_400
    assert claims["max_connections"] == PLANS[name].max_connections


def test_a_client_can_read_when_it_ends() -> None:
    token = AuthToken(mint_token(KEY, 7, PLANS["plus"], NOW, lifetime_s=60))
    assert token.expires_at == NOW + 60 and token.has_plan


def test_a_token_ends_at_its_time() -> None:
    token = mint_token(KEY, 7, PLANS["plus"], NOW, lifetime_s=60)
    assert read_token(KEY, token, NOW + 59)["iat"] == NOW
    with pytest.raises(BadTokenError, match="expired"):
        read_token(KEY, token, NOW + 60)


@pytest.mark.parametrize("text", ["", "bad", "a.b.c", "..", "é.ü.ß", "\ud800"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadTokenError, match="not signed"):
        read_token(KEY, text, NOW)


def test_a_changed_or_foreign_token_is_refused() -> None:
    token = mint_token(KEY, 7, PLANS["basic"], NOW)
    for wrong, key in ((forged(token, plan="pro_premium"), KEY), (token, b"other"), (token[:-1], KEY)):
        with pytest.raises(BadTokenError, match="not signed"):
            read_token(key, wrong, NOW)
