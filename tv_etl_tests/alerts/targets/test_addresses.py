"""Which addresses may be called; whether they are is tried with each kind of call."""

import pytest

from tv_etl.alerts.targets.addresses import NOT_PUBLIC, OF_THE_LINK, is_literal, is_public, refusal

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)
    assert refusal([address], allow_private=False) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "100.64.0.1", "fd00::1", "::ffff:192.168.0.1"])
def test_others_are_allowed_if_that_is_said(address: str) -> None:
    assert refusal(["1.1.1.1", address], allow_private=False) == NOT_PUBLIC
    assert refusal(["1.1.1.1", address], allow_private=True) == ""


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"])
def test_those_of_the_link_and_of_metadata_never_are(address: str) -> None:
    assert refusal(["1.1.1.1", address], allow_private=True) == OF_THE_LINK


def test_a_name_is_no_address() -> None:
    assert [is_literal(each) for each in ("a.example", "", "1.1.1.1", "::1", "localhost")] == [
        False,
        False,
        True,
        True,
        False,
    ]
