"""The server's accounts: who a session cookie or a token stands for, and who is connected. Sans I/O.

Accounts are asked for by name, as faults are by symbol: the cookie `sessionid` `premium`, or one that begins with
`premium-`, is an account on that plan; `expired` is nobody's; any other is an account on `account_plan`.
"""

import secrets
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tv_etl.market_server.accounts.plans import ANONYMOUS, PLANS, Plan
from tv_etl.market_server.accounts.tokens import LIFETIME_S, BadTokenError, mint_token, plan_of, read_token
from tv_etl.tradingview.protocol import ANONYMOUS_TOKEN

WIDGET_TOKEN = "widget_user_token"  # the same for everybody  # nosec B105
ACCOUNT_PLANS = {name: plan for name, plan in PLANS.items() if plan is not ANONYMOUS}
EXPIRED_SESSION = "expired"

# What the banned are told, by what they are banned by (PROTOCOL.md §8.1).
BANS = {"all": "banned", "user_id": "banned by user_id", "ip": "banned by ip"}


class SignInRefused(Exception):
    """A token is refused; the text is the reason of the `protocol_error`."""


@dataclass(frozen=True)
class User:
    """The owner of an account: a number, a name and a plan."""

    user_id: int
    name: str
    plan: Plan


@dataclass(frozen=True)
class SignedIn:
    """Whose rights a connection has, until `expires_at` (UTC seconds); without an account it has no plan and no id."""

    plan: Plan | None = None
    user_id: int | None = None
    expires_at: float = float("inf")


class Accounts:
    """Every account there is.

    `account_plan` is that of an account that names no other. `connections` overrides how many WebSockets an account
    may have open. `ban` is a key of BANS. `now` reads the machine's clock, UTC seconds: clients judge a token's expiry
    by theirs, whatever the market's time.
    """

    def __init__(
        self,
        account_plan: Plan = PLANS["premium"],
        *,
        now: Callable[[], float] = time.time,
        lifetime_s: float = LIFETIME_S,
        connections: int | None = None,
        ban: str | None = None,
    ) -> None:
        self._account_plan = account_plan
        self.now = now
        self._lifetime_s = lifetime_s
        self._connections = connections
        self._ban = ban
        self._key = secrets.token_bytes(64)
        self._open: Counter[int] = Counter()

    def user_of(self, session_id: str) -> User | None:
        """The user that a session cookie stands for, None if it is nobody's."""
        if not session_id or session_id == EXPIRED_SESSION:
            return None
        plan = PLANS.get(session_id.partition("-")[0], self._account_plan)
        if plan is ANONYMOUS:
            return None
        user_id = zlib.crc32(session_id.encode()) % 1_000_000_000
        return User(user_id, f"user{user_id}", plan)

    def token_of(self, user: User) -> str:
        """A new token for a user."""
        return mint_token(self._key, user.user_id, user.plan, self.now(), self._lifetime_s)

    def sign_in(self, token: str, before: SignedIn | None = None) -> SignedIn:
        """Sign a connection in with a token; `before` is what it was signed in as until now. Raises SignInRefused."""
        signed_in = SignedIn() if token in (ANONYMOUS_TOKEN, WIDGET_TOKEN) else self._owner(token)
        if self._ban is not None and (self._ban != "user_id" or signed_in.user_id is not None):
            raise SignInRefused(BANS[self._ban])
        if signed_in.user_id is not None:
            limit = self._connections
            if limit is None and signed_in.plan is not None:
                limit = signed_in.plan.max_connections
            others = self._open[signed_in.user_id] - (before is not None and before.user_id == signed_in.user_id)
            if limit is not None and others >= limit:
                raise SignInRefused("user connections limit reached")
            self._open[signed_in.user_id] += 1
        if before is not None:
            self.sign_out(before)
        return signed_in

    def sign_out(self, signed_in: SignedIn) -> None:
        """Note that a connection signed in like this has ended, or has signed in anew."""
        if signed_in.user_id is not None:
            self._open[signed_in.user_id] -= 1

    def _owner(self, token: str) -> SignedIn:
        try:
            claims = read_token(self._key, token, self.now())
        except BadTokenError:
            raise SignInRefused("bad auth token") from None
        return SignedIn(plan_of(claims), claims["user_id"], claims["exp"])
