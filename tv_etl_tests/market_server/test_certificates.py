import ssl
import sys

import pytest

from tv_etl.market_server.certificates import ThrowAwayCertificate
from tv_etl.tradingview.errors import MissingExtraError


def test_the_authority_stands_in_a_file_until_it_is_thrown_away() -> None:
    certificate = ThrowAwayCertificate("127.0.0.1", "localhost")
    try:
        trusting = ssl.create_default_context(cafile=certificate.ca_path)
        assert any("tv_etl market server" in str(each["subject"]) for each in trusting.get_ca_certs())
    finally:
        certificate.delete()
    assert not certificate.ca_path.exists()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tv-etl\[tls\]'"):
        ThrowAwayCertificate("127.0.0.1")
