"""A certificate for a server of this machine, signed by an authority that is thrown away with it."""

import ssl
import tempfile
from pathlib import Path

from tv_etl.tradingview.errors import MissingExtraError


class ThrowAwayCertificate:
    """A certificate for `names`: `context` is for the server; clients are to trust the authority in `ca_path`.

    The file exists until `delete`. Raises MissingExtraError without the library for it.
    """

    def __init__(self, *names: str) -> None:
        try:
            import trustme
        except ImportError:
            raise MissingExtraError("TLS needs trustme: pip install 'tv-etl[tls]'") from None
        authority = trustme.CA(organization_name="tv_etl market server")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self.context)
        self._folder = tempfile.TemporaryDirectory(prefix="tv_etl_market_")
        self.ca_path = Path(self._folder.name) / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_path))

    def delete(self) -> None:
        """Remove the authority's file."""
        self._folder.cleanup()
