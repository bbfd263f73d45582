"""Codes of registers against published examples and python-stdnum, and what is said of wrong ones."""

import random

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric, uscc
from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_11_10 as oracle

from ingest.demo import codes
from twin.beidou import LEVELS, box_of, code_of
from twin.checkdigits import CREDIT_SIGNS, mod_11_10
from twin.errors import InvalidRequest
from twin.identifiers import KINDS, Fault, Identifier, IdentifierKind, find_stake, read, recognise

PUBLISHED = ("91130200699229617X", "911302307808371268")  # HJ 608-2017
DIGITS = st.text("0123456789", min_size=13, max_size=13)
BODIES = st.builds(
    codes.credit_code,
    st.sampled_from(["370402", "110105", "310115"]),
    st.integers(0, 10**8 - 1),
    st.sampled_from(["91", "12", "11", "52"]),
)


def good(kind: IdentifierKind, text: str) -> Identifier:
    found = read(kind, text)
    assert isinstance(found, Identifier), found
    return found


def wrong(kind: IdentifierKind, text: str) -> Fault:
    found = read(kind, text)
    assert isinstance(found, Fault), found
    return found


@pytest.mark.parametrize("code", PUBLISHED)
def test_published_credit_codes_are_right(code: str) -> None:
    assert good("credit_code", code).parts["area"].startswith("1302")
    assert good("credit_code", f" {code[:8].lower()}-{code[8:]} ").text == code


@given(BODIES, st.integers(0, 17), st.sampled_from(CREDIT_SIGNS))
def test_credit_codes_as_stdnum_sees_them(code: str, place: int, sign: str) -> None:
    assert good("credit_code", code).text == uscc.validate(code)
    changed = code[:place] + sign + code[place + 1 :]
    assert isinstance(read("credit_code", changed), Identifier) <= uscc.is_valid(changed)
    if changed != code:
        assert isinstance(read("credit_code", changed), Fault), "every single wrong sign is found"


@given(BODIES, st.integers(0, 16))
def test_two_signs_that_changed_places_are_found_and_put_back(code: str, at: int) -> None:
    swapped = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
    if swapped != code:
        fault = wrong("credit_code", swapped)
        assert fault.code in {"check", "form"}
        assert fault.code == "form" or code in fault.fits


def test_signs_that_look_alike_are_put_right() -> None:
    assert wrong("credit_code", PUBLISHED[0].replace("0", "O")).fits == (PUBLISHED[0],)
    assert wrong("credit_code", PUBLISHED[0][:-1]).code == "form"


@given(DIGITS)
def test_mod_11_10_as_stdnum_computes_it(digits: str) -> None:
    assert mod_11_10(digits) == oracle.calc_check_digit(digits)


@given(st.integers(0, 10**14 - 1), st.dates())
def test_residents_numbers_as_stdnum_sees_them_and_nothing_kept(number: int, born: object) -> None:
    body = f"370402{str(born).replace('-', '')}{number % 1000:03d}"
    number_ = body + ric.calc_check_digit(body + "0")
    found = read("resident_id", number_)
    try:
        ric.validate(number_)
    except ValidationError:
        return  # it knows years and areas that we do not ask for
    assert isinstance(found, Identifier)
    assert found.text == ""
    assert number_[6:] not in repr(found)
    assert recognise(number_) == [], "nothing is made of a resident's number"
    changed = number_[:16] + str((int(number_[16]) + 1) % 10) + number_[17]
    fault = wrong("resident_id", changed)
    assert fault.code == "check"
    assert changed[6:] not in repr(fault)


def test_a_date_that_never_was_is_refused() -> None:
    body = "37040219990230001"
    assert wrong("resident_id", body + ric.calc_check_digit(body + "0")).code == "value"


@pytest.mark.parametrize(
    ("kind", "text", "parts"),
    [
        ("area_code", "370481", {"province": "37", "city": "3704", "district": "370481"}),
        ("area_code", "370402001", {"town": "370402001"}),
        ("area_code", "370402001003", {"town": "370402001", "community": "370402001003"}),
        ("device_code", "37040200001320000001", {"area": "370402", "type": "IP camera", "number": "000001"}),
        ("school_id", "2137000123", {"province": "37"}),
        ("outlet", "da001", {"medium": "air", "number": "001"}),
        ("outlet", f"{PUBLISHED[0]}001V DW002", {"medium": "water", "credit_code": PUBLISHED[0]}),
        ("grid_cell", "370402001003017", {"community": "370402001003", "cell": "017"}),
        ("parcel", "370402001003GB00017", {"area": "370402", "right": "GB"}),
        ("parcel", "370402001003GB00017F00010001", {"unit": "370402001003GB00017F00010001"}),
        ("h3", h3.latlng_to_cell(34.81, 117.32, 9).upper(), {"resolution": "9"}),
        ("road_stake", "G104 K612+300", {"road": "G104", "stake_m": "612300"}),
        ("road_stake", "104国道612公里300米", {"road": "G104", "stake_m": "612300"}),
        ("road_stake", "S206省道K12.5", {"road": "S206", "stake_m": "12500"}),
        ("road_stake", "Ｇ３ ZK655+020", {"road": "G3", "stake_m": "655020", "side": "left"}),
    ],
)
def test_codes_are_read_into_their_parts(kind: IdentifierKind, text: str, parts: dict[str, str]) -> None:
    found = good(kind, text)
    assert parts.items() <= found.parts.items()
    assert good(kind, found.text) == found, "the normal form reads as itself"
    assert kind in {one.kind for one in recognise(text)}


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        ("credit_code", "99130200699229617", "form"),
        ("area_code", "37040", "form"),
        ("area_code", "990402", "area"),
        ("device_code", "37040200009990000001", "value"),
        ("device_code", "3704020000132000001", "form"),
        ("school_id", "2199000123", "area"),
        ("food_licence", "SC1013704020001", "form"),
        ("outlet", "DX001", "form"),
        ("outlet", f"{PUBLISHED[0][:-1]}0 DA001", "check"),
        ("grid_cell", "37040200100301", "form"),
        ("parcel", "370402001003AB00017", "form"),
        ("h3", "8928308280ffffe", "form"),
        ("beidou", "N50J4Z", "form"),
        ("road_stake", "G104 K612+1300", "value"),
        ("road_stake", "G104", "form"),
        ("resident_id", "37040219990230", "form"),
    ],
)
def test_what_is_wrong_is_said_in_both_languages(kind: IdentifierKind, text: str, code: str) -> None:
    fault = wrong(kind, text)
    assert fault.code == code
    assert fault.what.zh
    assert fault.what.en


@given(st.integers(0, 9999), st.integers(0, 9))
def test_food_licences_and_their_check_digit(number: int, off: int) -> None:
    licence = codes.food_licence("370402", number)
    assert good("food_licence", licence).parts["area"] == "370402"
    changed = licence[:-1] + str(off)
    assert isinstance(read("food_licence", changed), Identifier) == (changed == licence)
    trade = "1370402" + f"{number:06d}"
    assert good("food_licence", "JY" + trade + oracle.calc_check_digit(trade)).parts["area"] == "370402"


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=40))
def test_any_text_is_read_or_refused(kind: IdentifierKind, text: str) -> None:
    assert isinstance(read(kind, text), Identifier | Fault)


@pytest.mark.parametrize(
    ("text", "road", "stake_m"),
    [
        ("滕州G104 K612+300附近起火", "G104", 612_300),
        ("京台高速G3南向K655+20处三车追尾", "G3", 655_020),
        ("省道206线,  S206 12公里处塌方", "S206", 12_000),
        ("在104国道615km+500m处", "G104", 615_500),
    ],
)
def test_a_stake_is_found_in_a_sentence(text: str, road: str, stake_m: float) -> None:
    found = find_stake(text)
    assert found is not None
    start, end, what = found
    assert isinstance(what, Identifier)
    assert what.parts["road"] == road
    assert float(what.parts["stake_m"]) == stake_m
    assert road[1:] in text[start:end]


def test_no_stake_is_made_of_what_is_none() -> None:
    for text in ("光明大道2621号", "G104", "K612+300", "电话0632-3320104", "13812345678"):
        assert find_stake(text) is None


def test_the_standards_example_lies_in_beijing() -> None:
    west, south, east, north = box_of("N50J47539B82553420")
    assert west < 116.31260 < east + 1e-5
    assert south < 39.99317 < north + 1e-5
    assert (north - south) * 3600 == pytest.approx(1 / 256)


@given(st.floats(-179.999, 179.999), st.floats(-87.9, 87.9), st.integers(1, LEVELS))
def test_beidou_codes_hold_their_point_and_nest(lon: float, lat: float, level: int) -> None:
    code = code_of(lon, lat, level)
    west, south, east, north = box_of(code)
    assert west - 1e-9 <= lon <= east + 1e-9
    assert south - 1e-9 <= lat <= north + 1e-9
    assert code_of(lon, lat, LEVELS).startswith(code)
    assert good("beidou", code).text == code


def test_points_beyond_the_grid_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        code_of(0, 89)
    with pytest.raises(InvalidRequest):
        code_of(0, 0, 11)


def test_demo_codes_are_well_formed() -> None:
    random.seed(7)
    for number in random.sample(range(10**6), 200):
        town = codes.community_code("370402001", number)
        made: list[tuple[IdentifierKind, str]] = [
            ("credit_code", codes.credit_code("370481", number)),
            ("device_code", codes.camera_id("370481", number)),
            ("school_id", codes.school_id("370400", number, "21")),
            ("area_code", town),
            ("grid_cell", codes.grid_code(town, number)),
            ("parcel", codes.unit_code(codes.parcel_code("370402001", 1, number, "GB"), number)),
        ]
        for kind, text in made:
            good(kind, text)
