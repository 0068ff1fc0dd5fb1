"""Identifiers of instruments besides their symbols: CUSIP and FIGI, made by the rules of their registries."""

from hashlib import blake2b

_CUSIP_COUNTRIES = ("US", "CA")
_CONSONANTS = "0123456789BCDFGHJKLMNPQRSTVWXYZ"  # a FIGI has no vowels


def cusip_of(isin: str) -> str | None:
    """The CUSIP inside an ISIN; None where the country has none."""
    return isin[2:11] if isin[:2] in _CUSIP_COUNTRIES else None


def figi_of(name: str) -> str:
    """An identifier in the form of a FIGI for a name, always the same one."""
    digest = blake2b(name.encode(), digest_size=6).digest()
    body = "BBG01" + "".join(_CONSONANTS[byte % len(_CONSONANTS)] for byte in digest)
    return body + figi_check_digit(body)


def figi_check_digit(body: str) -> str:
    """The last character of a FIGI from the eleven before it."""
    # Letters count from 10; every second value is doubled; the digits of all are added (as in Luhn's formula).
    values = [int(letter, 36) * (1 + place % 2) for place, letter in enumerate(body)]
    return str(-sum(value // 10 + value % 10 for value in values) % 10)
