import pytest

from tv_etl.market_server.accounts.accounts import BANS, Accounts, SignedIn, SignInRefused, User
from tv_etl.market_server.accounts.plans import PLANS, Plan

NOW = 1_795_197_600.0


class Office(Accounts):
    """Accounts whose clock is moved by hand."""

    def __init__(self, account_plan: Plan = PLANS["premium"], **options: object) -> None:
        self.moment = NOW
        super().__init__(account_plan, now=lambda: self.moment, **options)  # type: ignore[arg-type]

    def token(self, session_id: str) -> str:
        user = self.user_of(session_id)
        assert user is not None
        return self.token_of(user)


@pytest.mark.parametrize(
    ("session_id", "plan"),
    [("basic", "basic"), ("ultimate", "ultimate"), ("plus-2", "plus"), ("a" * 32, "premium"), ("plus2", "premium")],
)
def test_a_session_names_its_plan(session_id: str, plan: str) -> None:
    user = Office().user_of(session_id)
    assert isinstance(user, User) and user.plan is PLANS[plan]
    assert user == Office().user_of(session_id)


@pytest.mark.parametrize("session_id", ["", "expired", "anonymous", "anonymous-1"])
def test_some_sessions_are_nobodys(session_id: str) -> None:
    assert Office().user_of(session_id) is None


def test_other_sessions_are_on_the_plan_that_was_chosen() -> None:
    user = Office(PLANS["essential"]).user_of("x")
    assert user is not None and user.plan.name == "essential"


def test_a_token_signs_in_until_it_ends() -> None:
    office = Office(lifetime_s=60)
    token = office.token("plus")
    signed_in = office.sign_in(token)
    assert (signed_in.plan, signed_in.expires_at) == (PLANS["plus"], NOW + 60)
    office.moment += 60
    with pytest.raises(SignInRefused, match="bad auth token"):
        office.sign_in(token)


@pytest.mark.parametrize("token", ["unauthorized_user_token", "widget_user_token"])
def test_nobody_signs_in_without_a_plan(token: str) -> None:
    assert Office().sign_in(token) == SignedIn()


def test_an_account_has_so_many_connections_and_no_more() -> None:
    office = Office(connections=2)
    first, second = office.sign_in(office.token("plus")), office.sign_in(office.token("plus"))
    with pytest.raises(SignInRefused, match="user connections limit reached"):
        office.sign_in(office.token("plus"))
    assert office.sign_in(office.token("plus-other")).user_id != first.user_id
    renewed = office.sign_in(office.token("plus"), second)
    office.sign_out(renewed)
    office.sign_in(office.token("plus"))


def test_the_plan_limits_connections_too() -> None:
    office = Office()
    for _ in range(5):
        office.sign_in(office.token("basic"))
    with pytest.raises(SignInRefused, match="user connections limit reached"):
        office.sign_in(office.token("basic"))


@pytest.mark.parametrize("ban", BANS)
def test_the_banned_are_told(ban: str) -> None:
    office = Office(ban=ban)
    with pytest.raises(SignInRefused, match=f"^{BANS[ban]}$"):
        office.sign_in(office.token("plus"))
    if ban == "user_id":
        assert office.sign_in("unauthorized_user_token") == SignedIn()
    else:
        with pytest.raises(SignInRefused, match=BANS[ban]):
            office.sign_in("unauthorized_user_token")
