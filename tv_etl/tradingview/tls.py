"""Whom everything trusts that goes over HTTPS."""

import ssl

import httpx


def tls_context() -> ssl.SSLContext:
    """A context that trusts the usual authorities, since a slim container has none, and the system's beside them.

    SSL_CERT_FILE names others in place of the system's. Making one takes longer than a short exchange: make one for
    many.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()  # a company's own included
    return context
