"""Check digits of the codes of registers. Each function returns the sign that belongs behind the rest of a code."""

__all__ = ["CREDIT_SIGNS", "credit_check", "mod_11_10", "organisation_check", "resident_check"]

CREDIT_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The signs of credit codes (GB 32100): no I, O, S, V, Z, which people take for digits or for one another."""

_CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
_ORGANISATION_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_WEIGHTS = tuple(pow(2, 17 - place, 11) for place in range(17))
_RESIDENT_CHECKS = "10X98765432"


def credit_check(body: str) -> str:
    """The last sign of a unified social credit code (GB 32100-2015, modulo 31) behind its first 17."""
    total = sum(CREDIT_SIGNS.index(sign) * weight for sign, weight in zip(body, _CREDIT_WEIGHTS, strict=True))
    return CREDIT_SIGNS[-total % 31]


def organisation_check(body: str) -> str:
    """The last sign of an organisation code (GB 11714, modulo 11) behind its first 8."""
    signs = zip(body, _ORGANISATION_WEIGHTS, strict=True)
    rest = -sum(_ORGANISATION_SIGNS.index(sign) * weight for sign, weight in signs) % 11
    return "X" if rest == 10 else str(rest)


def resident_check(body: str) -> str:
    """The last sign of a resident's number (GB 11643, ISO 7064 MOD 11-2) behind its first 17 digits."""
    return _RESIDENT_CHECKS[sum(int(sign) * weight for sign, weight in zip(body, _RESIDENT_WEIGHTS, strict=True)) % 11]


def mod_11_10(digits: str) -> str:
    """The check digit of ISO 7064 MOD 11,10 (GB/T 17710) behind any number of digits."""
    rest = 10
    for digit in digits:
        rest = ((rest + int(digit)) % 10 or 10) * 2 % 11
    return str((11 - rest) % 10)
