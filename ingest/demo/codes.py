"""Codes as Chinese registers write them, with right check digits.

Only their form is real: the bodies they name are invented.
Where a city's own codes have other lengths they are cut or filled, so that every code keeps the length its standard
asks for.
"""

from twin.checkdigits import credit_check, mod_11_10, organisation_check

__all__ = [
    "admin_code",
    "camera_id",
    "community_code",
    "credit_code",
    "device_number",
    "food_licence",
    "grid_code",
    "medical_id",
    "organisation_code",
    "parcel_code",
    "part_code",
    "school_id",
    "unit_code",
]


def admin_code(code: str) -> str:
    """The six digits of an area's code, cut or filled with zeros (GB/T 2260)."""
    return "".join(sign for sign in code if sign.isdigit())[:6].ljust(6, "0")


def organisation_code(number: int) -> str:
    """Nine characters: eight digits and the check character of GB 11714."""
    body = f"{number % 10**8:08d}"
    return body + organisation_check(body)


def credit_code(district: str, number: int, register: str = "91") -> str:
    """The 18-character unified social credit code (GB 32100).

    `register`: 91 a firm, 12 a public institution, 11 an authority, 52 a private non-enterprise body.
    """
    body = register + admin_code(district) + organisation_code(number)
    return body + credit_check(body)


def food_licence(district: str, number: int, food_class: str = "101", prefix: str = "SC") -> str:
    """A food licence: prefix, class of food (3 digits), area (6), sequence (4), and a check digit (MOD 11,10)."""
    digits = food_class + admin_code(district) + f"{number % 10_000:04d}"
    return prefix + digits + mod_11_10(digits)


def school_id(city: str, number: int, kind: str) -> str:
    """The ten-digit school code: two digits for the kind of school, two for the province, six in sequence."""
    return kind + admin_code(city)[:2] + f"{number % 10**6:06d}"


def medical_id(district: str, number: int, kind: str = "A100", economic: str = "11", profit: str = "1") -> str:
    """The 22-character code of a medical institution (after WS 218).

    Organisation (9), area (6), economic type (2), kind (4), for profit or not (1).
    """
    return organisation_code(number) + admin_code(district) + economic + kind + profit


def camera_id(district: str, number: int, industry: str = "00", kind: str = "132") -> str:
    """The 20-digit device code (GB/T 28181): centre (8), industry (2), kind (3), network and number (7).

    `kind`: 131 a camera, 132 an IP camera.
    """
    return f"{admin_code(district)}00{industry}{kind}7{number % 10**6:06d}"


def device_number(district: str, number: int, system: str = "21") -> str:
    """A 24-character number of a monitoring device: area, system (after HJ 212), sequence."""
    return f"{admin_code(district)}{system}{number % 10**16:016d}"


def community_code(town: str, number: int) -> str:
    """The 12-digit statistical code of a community: town (9) and number."""
    return town[:9].ljust(9, "0") + f"{number % 1000:03d}"


def grid_code(community: str, number: int) -> str:
    """The 15-digit code of a statutory grid cell: community (12) and number (after GB/T 30428.1)."""
    return community + f"{number % 1000:03d}"


def parcel_code(town: str, section: int, number: int, right: str) -> str:
    """The 19-character parcel code: area (6), cadastral district (3) and section (3), right (2 letters), number (5)."""
    digits = town[:9].ljust(9, "0")
    return f"{digits}{section % 1000:03d}{right}{number % 10**5:05d}"


def unit_code(parcel: str, number: int) -> str:
    """The 28-character code of a real-estate unit: parcel (19), F for a building, number (8)."""
    return f"{parcel}F{number % 10**4:04d}0000"


def part_code(district: str, kind: str, number: int) -> str:
    """The 16-digit code of a city part such as a lamp: area (6), kind (4), number (6), after GB/T 30428.2."""
    return f"{admin_code(district)}{kind}{number % 10**6:06d}"
