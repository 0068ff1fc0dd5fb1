import json

import pytest

from tv_etl.market_server.accounts.accounts import Accounts
from tv_etl.market_server.sessions.conversation import MAX_UNANSWERED_HEARTBEATS
from tv_etl.market_server.sessions.send_queue import Hangup
from tv_etl.tradingview.protocol import ClientProtocol, Hello
from tv_etl_tests.market_server.samples import sample
from tv_etl_tests.market_server.talk import ANONYMOUS_TOKEN, FRIDAY_NOON, Talk, bars, methods, only

pytestmark = pytest.mark.pure


def test_the_hello_comes_first_and_has_the_recorded_shape() -> None:
    talk = Talk()
    talk.wait(0.0)
    hello, recorded = json.loads(talk.payloads[0]), sample("har-20251218-frame00-hello")
    assert [(key, type(value)) for key, value in hello.items()] == [
        (key, type(value)) for key, value in recorded.items()
    ]
    assert hello["timestampMs"] == FRIDAY_NOON * 1_000


@pytest.mark.parametrize("token", [ANONYMOUS_TOKEN, "widget_user_token"])
def test_anonymous_tokens_are_accepted_in_silence(token: str) -> None:
    talk = Talk()
    assert talk.say(("set_auth_token", token), ("set_locale", "en", "US"), ("set_data_quality", "low")) == []
    assert talk.hangups == []


@pytest.mark.parametrize("token", ["", "eyJhbGciOiJSUzUxMiJ9.e30.x", "nonsense"])
def test_a_bad_token_ends_the_connection(token: str) -> None:
    talk = Talk()
    assert talk.say(("set_auth_token", token), ("chart_create_session", "cs_1", "")) == [
        sample("hm-protocol_error-bad-auth")
    ]
    assert talk.hangups == [Hangup()]
    assert talk.say(("switch_timezone", "cs_1", "Etc/UTC")) == []


def test_an_unknown_session_ends_the_connection_with_an_erlang_tuple() -> None:
    talk = Talk()
    (error,) = talk.say(("create_series", "cs_9", "sds_1", "s1", "sym_1", "D", ["bar_count", 1, 2], {}, None))
    assert error == {
        "m": "protocol_error",
        "p": [
            '{unknown_session_id,<<"create_series">>,<<"cs_9">>,<<"sds_1">>,<<"s1">>,<<"sym_1">>,<<"D">>,'
            '[<<"bar_count">>,1,2],#{},null}'
        ],
    }
    assert talk.hangups == [Hangup()]


@pytest.mark.parametrize("text", ["hello", "~m~3~m~{}}", '~m~9~m~{"m":"x"}', '~m~16~m~{"m":"x","p":[]}', "~m~2~m~[]"])
def test_nonsense_ends_the_connection(text: str) -> None:
    talk = Talk()
    talk.conversation.receive_text(text)
    assert methods(talk.wait(0.0)) == ["protocol_error"]
    assert talk.hangups == [Hangup()]


def test_a_deleted_session_is_unknown() -> None:
    talk = Talk()
    talk.open_chart()
    assert talk.say(("chart_delete_session", "cs_1")) == []
    assert methods(talk.say(("request_more_data", "cs_1", "sds_1", 5))) == ["protocol_error"]


def test_heartbeats_count_and_their_echo_keeps_the_connection() -> None:
    talk = Talk(heartbeat_s=10.0)
    for number in range(1, 3 * MAX_UNANSWERED_HEARTBEATS):
        talk.wait(10.0)
        assert talk.payloads[-1] == f"~h~{number}"
        talk.conversation.receive_text(f"~m~{3 + len(str(number))}~m~~h~{number}")
    assert talk.hangups == []


def test_a_client_that_never_echoes_is_dropped() -> None:
    talk = Talk(heartbeat_s=10.0)
    for _ in range(MAX_UNANSWERED_HEARTBEATS):
        talk.wait(10.0)
    assert talk.hangups == []
    talk.wait(10.0)
    assert talk.hangups == [Hangup()]
    talk.wait(10.0)
    assert talk.payloads[-1] == f"~h~{MAX_UNANSWERED_HEARTBEATS}"


def test_a_heartbeat_may_share_a_message_with_data() -> None:
    talk = Talk(heartbeat_s=1.0)
    talk.open_chart("BINANCE:BTCUSDT", "1", 5)
    talk.wait(1.0, market_seconds=5)
    assert "~h~1" in talk.texts[-1] and '"du"' in talk.texts[-1]


def test_answers_of_many_sessions_share_a_message() -> None:
    talk = Talk()
    for number in range(3):
        talk.conversation.receive_text(
            "".join(
                _packet(method, f"cs_{number}", *rest)
                for method, *rest in (
                    ("chart_create_session", ""),
                    ("resolve_symbol", "sym_1", "NASDAQ:AAPL"),
                    ("create_series", "sds_1", "s1", "sym_1", "1D", 5, ""),
                )
            )
        )
    messages = talk.wait(0.01)
    assert methods(messages).count("series_completed") == 3
    assert talk.texts[-1].count("series_completed") == 3


def test_series_loading_overtakes_a_symbol_sent_just_before() -> None:
    """Each command in its own WebSocket message, as the site sends them."""
    talk = Talk()
    for packet in (
        _packet("chart_create_session", "cs_1", ""),
        _packet("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL"),
        _packet("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5, ""),
    ):
        talk.conversation.receive_text(packet)
        talk.wall += 0.001
    assert methods(talk.wait(0.01))[:2] == ["series_loading", "symbol_resolved"]


def test_latency_delays_the_answer() -> None:
    talk = Talk(latency_s=0.5)
    assert talk.open_chart() == []
    assert "series_completed" in methods(talk.wait(0.5))


def test_our_clients_protocol_reads_what_it_says() -> None:
    talk, client = Talk(), ClientProtocol()
    rows = bars(only(talk.open_chart("NSE:M&M", "15", 50), "timescale_update"))
    for text in talk.texts:
        client.receive_text(text)
    events = client.events_received()
    assert isinstance(events[0], Hello)
    assert rows in [getattr(event, "rows", None) for event in events]
    assert client.server_time_ms == FRIDAY_NOON * 1_000


def _packet(method: str, *params: object) -> str:
    payload = json.dumps({"m": method, "p": params})
    return f"~m~{len(payload)}~m~{payload}"


def test_a_session_of_a_living_id_is_refused_and_the_living_one_goes_on() -> None:
    talk = Talk()
    talk.open_chart("BINANCE:BTCUSDT", "1", 5)
    talk.say(("quote_create_session", "qs_1"))
    chart, quote = talk.say(("chart_create_session", "cs_1", ""), ("quote_create_session", "qs_1"))
    assert chart == {
        "m": "critical_error",
        "p": ["cs_1", "duplicate id", 'method: chart_create_session. args: "[]"'],
    }
    assert quote == {"m": "critical_error", "p": ["qs_1", "duplicate_id", "quote_create_session"]}
    assert methods(talk.wait(1.0, market_seconds=5)) == ["du"]
    talk.say(("chart_delete_session", "cs_1"))
    assert "series_completed" in methods(talk.open_chart())


def test_sessions_created_too_fast_are_refused_and_the_others_go_on() -> None:
    talk = Talk(session_rate=2.0)
    assert "series_completed" in methods(talk.open_chart(session="cs_1"))
    assert "series_completed" in methods(talk.open_chart(session="cs_2"))
    (error,) = talk.open_chart(session="cs_3")
    assert error["p"][:2] == ["cs_3", "max sessions rate reached"]
    talk.wait(1.0)
    assert "series_completed" in methods(talk.open_chart(session="cs_3"))
    assert talk.hangups == []


def account_token(accounts: Accounts, session_id: str) -> str:
    user = accounts.user_of(session_id)
    assert user is not None
    return accounts.token_of(user)


def test_a_tokens_plan_rules_its_connection_until_another_token_comes() -> None:
    talk = Talk()
    accounts = talk.world.accounts
    talk.say(("set_auth_token", account_token(accounts, "essential")), ("chart_create_session", "cs_1", ""))
    talk.say(("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL"))
    for series in ("sds_1", "sds_2"):
        completed = only(talk.say(("create_series", "cs_1", series, "s1", "sym_1", "7", 3)), "series_completed")
        assert completed["p"][4]["rt_update_period"] == 0
    talk.say(("set_auth_token", "unauthorized_user_token"))
    refused = talk.say(("create_series", "cs_1", "sds_3", "s1", "sym_1", "1D", 3))
    assert only(refused, "critical_error")["p"][1] == "exceed limit of series in the session"


def test_a_token_that_ends_ends_its_connection_unless_it_is_renewed() -> None:
    moment = 0.0
    accounts = Accounts(now=lambda: moment, lifetime_s=60)
    talk = Talk(accounts=accounts)
    talk.say(("set_auth_token", account_token(accounts, "plus")))
    moment = 50.0
    assert talk.say(("set_auth_token", account_token(accounts, "plus"))) == []
    moment = 109.0
    assert talk.wait(1.0) == []
    moment = 110.0
    assert talk.wait(1.0) == [{"m": "protocol_error", "p": ["bad auth token"]}]
    assert talk.hangups == [Hangup()]


def test_a_connection_that_ends_frees_its_account() -> None:
    accounts = Accounts(connections=1)
    first, second, third = (Talk(accounts=accounts) for _ in range(3))
    token = account_token(accounts, "plus")
    first.say(("set_auth_token", token))
    assert second.say(("set_auth_token", token)) == [{"m": "protocol_error", "p": ["user connections limit reached"]}]
    second.conversation.close()
    first.conversation.close()
    assert third.say(("set_auth_token", token)) == []
