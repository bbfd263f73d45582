"""Which datum a file is in: contract, file and person compared, nothing guessed."""

import pytest

from layers.places.datums import datum_word
from twin.errors import DatumError


@pytest.mark.parametrize(
    ("contract", "crs", "declared", "word"),
    [
        ("gcj02", None, None, "gcj02"),
        ("gcj02", "EPSG:4326", None, "gcj02"),  # GCJ-02 has no code of its own: such files claim WGS 84
        ("wgs84", "EPSG:4490", None, "wgs84"),
        ("wgs84", "EPSG:32650", None, "epsg:32650"),
        ("per_file", None, "bd09", "bd09"),
        ("per_file", "EPSG:4326", "gcj02", "gcj02"),
        ("per_file", "EPSG:4490", None, "cgcs2000"),
        ("per_file", "EPSG:4548", None, "epsg:4548"),
        ("cgcs2000-3deg-117", None, None, "cgcs2000-3deg-117"),
        ("cgcs2000-3deg-117", "EPSG:4548", None, "cgcs2000-3deg-117"),
        ("cgcs2000-3deg-117", "EPSG:4527", None, "cgcs2000-3deg-117"),
        ("wgs84", "EPSG:4610", None, "epsg:4610"),  # Xian 80: twin.datum refuses it without parameters
    ],
)
def test_word(contract: str, crs: str | None, declared: str | None, word: str) -> None:
    assert datum_word(contract, crs, declared) == word


@pytest.mark.parametrize(
    ("contract", "crs", "declared", "says"),
    [
        ("per_file", None, None, "does not say its datum"),
        ("gcj02", None, "wgs84", "you say wgs84"),
        ("cgcs2000-3deg-117", "EPSG:32650", None, "the contract says"),
        ("cgcs2000-3deg-117", "EPSG:4547", None, "the contract says"),
        ("per_file", 'LOCAL_CS["site grid"]', None, "no EPSG code"),
    ],
)
def test_contradiction_and_silence(contract: str, crs: str | None, declared: str | None, says: str) -> None:
    with pytest.raises(DatumError, match=says):
        datum_word(contract, crs, declared)
