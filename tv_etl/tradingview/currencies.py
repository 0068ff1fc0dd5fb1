"""Currencies that prices may be converted to, by their codes.

Source: ISO 4217, the currencies in use; `XTVC` and a coin is TradingView's own way to name one (PROTOCOL.md §3).
"""

import re

CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF CLP
    CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED
    VES VND VUV WST XAF XAG XAU XCD XCG XOF XPD XPF XPT YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905, as a list it would have a line for each
)
# Hundredths of a currency, in which some exchanges quote.
_PARTS = frozenset({"GBX", "ILA", "ZAC"})
_COIN = re.compile("XTVC[A-Z0-9]{2,20}")


def check_currency(code: str) -> str:
    """Return the code unchanged. Raises ValueError that names it and what would be right."""
    if isinstance(code, str) and (code in CURRENCIES or code in _PARTS or _COIN.fullmatch(code)):
        return code
    better = code.upper() if isinstance(code, str) and code.upper() in CURRENCIES else "EUR"
    raise ValueError(f"currency {code!r}: expected a code of ISO 4217 such as {better}, or XTVC and a coin: XTVCUSDT")
