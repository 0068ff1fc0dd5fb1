"""HTTPS trusts the usual authorities, and the one that somebody names."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from tv_etl.tradingview.tls import tls_context


def test_a_named_authority_is_trusted_beside_the_usual_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA(organization_name="A company of its own")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def trusted() -> set[str]:
        subjects: list[Any] = [each["subject"] for each in tls_context().get_ca_certs()]
        return {value for subject in subjects for [(key, value)] in subject if key == "organizationName"}

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    usual = trusted()
    assert len(usual) > 10 and "A company of its own" not in usual
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert trusted() == usual | {"A company of its own"}
