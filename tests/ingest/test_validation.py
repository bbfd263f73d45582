"""The contract's checks: each kind of wrong value ends with its reason and in words, and nothing else changes."""

import datetime as dt
import decimal
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.codecs.records import GEOMETRY, ROW, Records, numbered
from ingest.validation import EXTRA, Checked, Validator
from layers.contract import Contract
from tests.ingest.contracts import GEOMETRY_RUNG, LONLAT, contract, field, stream
from twin.errors import ContractError, SourceError

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
ZONE = "Asia/Shanghai"


def check(dataset: Contract, columns: dict[str, Any], zone: str = ZONE) -> Checked:
    frame = numbered(pl.DataFrame(columns), 1)
    return Validator(dataset, zone).check(Records(frame, None), now=NOW)


def one_field(values: list[Any] | pl.Series, /, **rules: Any) -> Checked:
    """Values of the field `value` of stations 1, 2, ..."""
    dataset = contract(
        fields={"code": field("integer", "编号", "Code"), "value": field(rules.pop("type"), "值", "Value", **rules)}
    )
    codes = pl.Series(range(1, len(values) + 1))
    return check(dataset, {"code": codes, "value": values, "lon": ["117"] * len(values), "lat": ["34"] * len(values)})


def reasons(checked: Checked) -> list[str | None]:
    return checked.reasons.to_list()


@pytest.mark.parametrize(
    ("type_", "given_values", "expected"),
    [
        ("integer", ["1", "12.0", "-3", "+5", " 7 ", "１２", "", None], [1, 12, -3, 5, 7, 12, None, None]),
        ("float", ["1", "1.5", "-2e3", ".5", " 7 ", "１．５", "", "　"], [1, 1.5, -2000, 0.5, 7, 1.5, None, None]),
        (
            "boolean",
            ["true", "FALSE", "1", "0", "是", "否", "１", ""],
            [True, False, True, False, True, False, True, None],
        ),
        ("string", [" a b ", "007", "枣庄（市）", "１", "　"], ["a b", "007", "枣庄（市）", "１", None]),
        ("integer", [1.0, 2.0, None], [1, 2, None]),
        ("integer", [True, False], None),
        ("float", [1, None], [1.0, None]),
        ("boolean", [1, 0, None], [True, False, None]),
        ("boolean", [1.0, 0.0], [True, False]),
        ("string", [1.0, 2.5, 1e300, None], ["1", "2.5", "1e+300", None]),
        ("string", [370402, None], ["370402", None]),
        ("string", [True, False], ["true", "false"]),
        ("string", [dt.date(2026, 1, 2)], ["2026-01-02"]),
        ("string", [[1, 2], None], ["[1,2]", None]),
        (
            "date",
            ["2026-01-02", "2026/1/2", "20260102", "2026年1月2日", "2026-01-02 00:00:00"],
            [dt.date(2026, 1, 2)] * 5,
        ),
    ],
)
def test_values_that_are_read(type_: str, given_values: list[Any], expected: list[Any] | None) -> None:
    checked = one_field(given_values, type=type_)
    if expected is None:
        assert reasons(checked) == ["wrong-type"] * len(given_values)
        return
    assert checked.frame["value"].to_list() == expected
    assert reasons(checked) == [None] * len(given_values)


@pytest.mark.parametrize(
    ("type_", "values", "detail"),
    [
        ("float", ["12a"], 'value = "12a": not a number'),
        ("float", ["nan"], 'value = "nan": not a number'),
        ("float", ["inf"], 'value = "inf": not a number'),
        ("float", ["1e999"], 'value = "1e999": not a number'),
        ("float", ["1,5"], 'value = "1,5": not a number'),
        ("float", [float("inf")], "value = ?: not a number"),
        ("float", [True], "value = true: not a number"),
        ("float", [b"\x01"], "value = ?: not a number"),
        ("integer", ["1.5"], 'value = "1.5": not a whole number'),
        ("integer", ["1e3"], 'value = "1e3": not a whole number'),
        ("integer", ["9223372036854775808"], 'value = "9223372036854775808": not a whole number'),
        ("integer", [1.5], "value = 1.5: not a whole number"),
        ("integer", [1e30], "value = 1e+30: not a whole number"),
        ("boolean", ["yes"], 'value = "yes": neither true nor false'),
        ("boolean", [2], "value = 2: neither true nor false"),
        ("string", [float("nan")], "value = ?: not a text"),
        ("string", [b"\x01"], "value = ?: not a text"),
        ("float", ["x" * 100], f'value = "{"x" * 80}…": not a number'),
        ("float", ["1\0"], 'value = "1␀": not a number'),
    ],
)
def test_wrong_types(type_: str, values: list[Any], detail: str) -> None:
    checked = one_field(values, type=type_)
    assert reasons(checked) == ["wrong-type"]
    assert checked.details.to_list() == [detail]
    assert checked.frame["value"].to_list() == [None]


@pytest.mark.parametrize(
    ("rules", "good", "bad", "reason", "detail"),
    [
        (
            {"type": "float", "range": [0, 2000], "unit": "ug/m3"},
            ["0", "2000", None],
            ["2000.1", "-1"],
            "out-of-range",
            "value = 2000.1: outside 0 to 2000 ug/m3",
        ),
        ({"type": "integer", "range": [1, 5]}, ["1", "5"], ["0", "6"], "out-of-range", "value = 0: outside 1 to 5"),
        (
            {"type": "string", "values": {"1": {"zh": "甲", "en": "a"}, "B": {"zh": "乙", "en": "b"}}},
            ["1", "B", "１", None],
            ["b", "甲"],
            "unknown-value",
            'value = "b": not one of 1, B',
        ),
        (
            {"type": "integer", "values": {"1": {"zh": "甲", "en": "a"}}},
            ["1", "1.0"],
            ["2"],
            "unknown-value",
            "value = 2: not one of 1",
        ),
        (
            {"type": "string", "pattern": "[0-9]{6}"},
            ["370402", "３７０４０２", None],
            ["3704", "3704021", "a370402"],
            "pattern",
            'value = "3704": not of the form [0-9]{6}',
        ),
        (
            {"type": "string", "pattern": "^a|b$"},
            ["a", "b"],
            ["ab", "ba"],
            "pattern",
            'value = "ab": not of the form ^a|b$',
        ),
        (
            {"type": "string", "max_length": 3},
            ["枣庄市", "abc"],
            ["abcd", "枣庄市区"],
            "too-long",
            'value = "abcd": longer than 3 characters',
        ),
        ({"type": "string"}, ["a"], ["a\0b"], "unreadable-row", "value contains a NUL character"),
        ({"type": "float", "required": True}, ["1"], ["", None, "  "], "missing-value", "value is empty"),
        (
            {"type": "date"},
            ["2026-01-01"],
            ["2026-02-30", "2026-01-01 08:00:00", "soon"],
            "bad-time",
            'value = "2026-02-30": not a date',
        ),
    ],
)
def test_rules_of_a_field(rules: dict[str, Any], good: list[Any], bad: list[Any], reason: str, detail: str) -> None:
    checked = one_field([*good, *bad], **rules)
    assert reasons(checked) == [None] * len(good) + [reason] * len(bad)
    assert checked.details.to_list()[: len(good)] == [None] * len(good)
    assert checked.details[len(good)] == detail


def test_times_are_cleaned_before_they_are_read() -> None:
    eight = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)  # 08:00 in Zaozhuang
    texts = ["２０２６－１１－２２　０８：００：００", " 2026-11-22 08:00:00 ", "soon", ""]
    checked = one_field(texts, type="datetime")
    assert checked.frame["value"].to_list() == [eight, eight, None, None]
    assert checked.details.to_list() == [None, None, 'value = "soon": not a time', None]
    assert one_field([1795305600], type="datetime").frame["value"].to_list() == [eight]


def test_clock_changes_are_not_guessed() -> None:
    dataset = stream({}, time={"event": "observed_at", "zone": "America/Sao_Paulo"})
    times = ["2018-11-04 00:30:00", "2018-02-17 22:30:00"]
    checked = check(dataset, {"station": ["a", "b"], "observed_at": times, "lon": [1.0] * 2, "lat": [1.0] * 2})
    assert reasons(checked) == ["bad-time", None]
    assert "clocks of America/Sao_Paulo skip or repeat" in str(checked.details[0])


def test_observation_of_the_future() -> None:
    leeway = NOW + dt.timedelta(minutes=5)
    times = [leeway, leeway + dt.timedelta(seconds=1)]
    checked = check(stream({}), {"station": ["a", "b"], "observed_at": times, "lon": [1.0] * 2, "lat": [1.0] * 2})
    assert reasons(checked) == [None, "future-time"]
    assert "more than 5 minutes in the future" in str(checked.details[1])


@pytest.mark.parametrize("type_", ["date", "datetime"])
def test_end_before_start(type_: str) -> None:
    dataset = contract(
        time={"start": "opened", "end": "closed"},
        fields={
            "code": field("string", "编号", "Code"),
            "opened": field("date", "开始", "Opened"),
            "closed": field(type_, "结束", "Closed"),
        },
    )
    columns = {"opened": ["2026-01-02"] * 4, "closed": ["2026-01-01", "2026-01-02", "2026-01-03", None]}
    checked = check(dataset, {"code": list("abcd"), **columns, "lon": ["1"] * 4, "lat": ["1"] * 4})
    assert reasons(checked) == ["bad-time", None, None, None]
    assert str(checked.details[0]).endswith(": before opened")


def test_missing_key() -> None:
    columns = {"station": ["a", "", None], "observed_at": ["2026-11-22", "2026-11-22", "x"], "lon": ["1"] * 3}
    checked = check(stream({}), {**columns, "lat": ["1"] * 3})
    assert reasons(checked) == [None, "missing-key", "missing-key"]
    assert checked.details.to_list()[1] == "station is empty"


def test_unreadable_key_is_not_a_missing_one() -> None:
    checked = check(stream({}), {"station": ["a"], "observed_at": ["x"], "lon": ["1"], "lat": ["1"]})
    assert reasons(checked) == ["bad-time"]


def test_coordinates() -> None:
    columns = {"code": list("abcd"), "lon": ["117.5", "east", "inf", ""], "lat": ["34", "34", "34", None]}
    checked = check(contract(), columns)
    assert reasons(checked) == [None, "bad-coordinate", "bad-coordinate", None]
    assert checked.details[1] == 'lon = "east": not a number'
    assert checked.frame.schema["lon"] == checked.frame.schema["lat"] == pl.Float64
    assert checked.frame["lon"].to_list() == [117.5, None, None, None]


def test_first_reason_in_the_fixed_order_wins() -> None:
    fields = {
        "a": field("float", "甲", "A", range=[0, 1]),
        "b": field("float", "乙", "B"),
        "c": field("string", "丙", "C", max_length=1),
    }
    given_columns = {"station": ["s", "", "s", "s"], "observed_at": ["2026-11-22"] * 3 + ["2030-01-01"]}
    columns = {
        "a": ["9", "9", "9", "9"],
        "b": ["x", "x", "1", "1"],
        "c": ["long"] * 4,
        "lon": ["1"] * 4,
        "lat": ["1"] * 4,
    }
    checked = check(stream(fields), given_columns | columns)
    assert reasons(checked) == ["wrong-type", "missing-key", "out-of-range", "out-of-range"]
    assert checked.details[0] == 'b = "x": not a number'


def test_headings_in_both_languages_and_by_alias_and_map() -> None:
    dataset = stream(
        {"pm25": field("float", "细颗粒物", "PM2.5"), "so2": field("float", "二氧化硫", "SO2")},
        source={"protocol": "file", "map": {"a34004-Rtd": "pm25"}},
    )
    headings = {
        "device_id": ["a"],
        " 时间 ": ["2026-11-22"],
        "A34004-RTD": ["1"],
        "ＳＯ２": ["2"],
        "LON": ["3"],
        "lat": ["4"],
    }
    checked = check(dataset, headings)
    assert checked.frame.select("station", "pm25", "so2", "lon", "lat").rows() == [("a", 1.0, 2.0, 3.0, 4.0)]
    assert checked.unknown_columns == ()


def test_of_two_columns_for_a_field_the_surer_wins_and_the_other_is_extra() -> None:
    for names in (["name", "名称"], ["名称", "name"]):
        columns = {"code": ["1"], "lon": ["1"], "lat": ["1"]} | {name: [f"by {name}"] for name in names}
        checked = check(contract(), columns)
        assert checked.frame["name"].to_list() == ["by name"]
        assert checked.unknown_columns == ("名称",)
    with pytest.raises(SourceError, match="'name' and 'NAME' both mean 'name'"):
        check(contract(), {"code": ["1"], "lon": ["1"], "lat": ["1"], "name": ["a"], "NAME": ["b"]})


def test_title_of_two_fields_means_neither() -> None:
    fields = {name: field("string", "名称", name) for name in ("code", "name", "other")}
    checked = check(contract(fields=fields), {"code": ["1"], "lon": ["1"], "lat": ["1"], "名称": ["x"]})
    assert checked.unknown_columns == ("名称",)


def test_missing_columns_are_named_with_guesses() -> None:
    fields = {"pm25": field("float", "细颗粒物", "PM2.5", required=True)}
    with pytest.raises(SourceError) as caught:
        check(stream(fields), {"statoin": ["a"], "细颗粒": ["1"], "lon": ["1"], "lat": ["1"], "zzz": ["1"]})
    text = str(caught.value)
    assert "columns are missing: station (站点, Station), observed_at (时间, Time), pm25 (细颗粒物, PM2.5)" in text
    assert "statoin (did you mean station?)" in text
    assert "细颗粒 (did you mean pm25?)" in text
    assert ", zzz." in text


def test_file_that_says_nowhere_where_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        check(contract(), {"code": ["1"], "long": ["1"], "lat": ["1"]})
    assert "a geometry, or lon and lat is needed" in str(caught.value)
    assert "long (did you mean lon?)" in str(caught.value)
    with_geometry = check(contract(), {"code": ["1"], GEOMETRY: [b"\x01"]})
    assert reasons(with_geometry) == [None]
    assert with_geometry.frame[GEOMETRY].to_list() == [b"\x01"]


def test_unknown_columns_become_extra() -> None:
    columns = {
        "备注": [' say "hi"\n', None, ""],
        "n": [1.5, None, float("nan")],
        "price": [decimal.Decimal("1.50"), None, None],
        "when": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), None, None],
        "raw": [b"\x01\xff", None, None],
        "list": [[1, 2], None, None],
    }
    base = {"code": ["1", "2", "3"], "lon": ["1"] * 3, "lat": ["1"] * 3}
    checked = check(contract(), base | columns)
    first, second, third = checked.frame[EXTRA].to_list()
    assert json.loads(first) == {
        "备注": 'say "hi"',
        "n": 1.5,
        "price": "1.50",
        "when": "2026-01-02T00:00:00.000000+00:00",
        "raw": "01ff",
        "list": [1, 2],
    }
    assert second is None
    assert json.loads(third) == {"n": "NaN"}
    assert checked.unknown_columns == tuple(columns)
    assert reasons(check(contract(), base | {"x": ["a\0", "\\u0000", "b"]})) == ["unreadable-row", None, None]


def test_frame_has_the_columns_of_the_contract_in_order_and_type() -> None:
    fields = {
        "code": field("string", "编号", "Code"),
        "i": field("integer", "整数", "Integer"),
        "f": field("float", "小数", "Float"),
        "b": field("boolean", "真假", "Boolean"),
        "t": field("datetime", "时间", "Time"),
        "d": field("date", "日期", "Date"),
    }
    dataset = contract(fields=fields, place={"rungs": [LONLAT, GEOMETRY_RUNG]})
    types = [pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Datetime("us", "UTC"), pl.Date, pl.Float64, pl.Float64]
    for columns in ({"code": ["1"]}, {"code": pl.Series([], dtype=pl.String)}):
        checked = check(dataset, {**columns, "lon": columns["code"], "lat": columns["code"]})
        assert checked.frame.columns == [*fields, "lon", "lat", EXTRA, ROW]
        assert checked.frame.dtypes == [*types, pl.String, pl.Int64]
        assert checked.reasons.len() == checked.details.len() == checked.frame.height == len(columns["code"])


def test_categories_are_texts() -> None:
    checked = one_field(pl.Series(["1", "x", None], dtype=pl.Categorical), type="float")
    assert checked.frame["value"].to_list() == [1.0, None, None]
    assert reasons(checked) == [None, "wrong-type", None]


def test_pattern_that_cannot_be_used_is_a_fault_of_the_contract() -> None:
    dataset = contract(fields={"code": field("string", "编号", "Code", pattern="(?=a)a")})
    with pytest.raises(ContractError, match="look-around"):
        Validator(dataset, ZONE)


@pytest.mark.parametrize("text", ["10²", "²", "①", "½", "x₂"])
def test_signs_that_only_resemble_digits_are_no_numbers(text: str) -> None:
    for type_ in ("float", "integer"):
        assert reasons(one_field(pl.Series([text]), type=type_)) == ["wrong-type"]


@example(["²"])
@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.floats().map(str), st.integers().map(str)), min_size=1))
def test_numbers_agree_with_python(texts: list[str | None]) -> None:
    checked = one_field(pl.Series(texts, dtype=pl.String), type="float")
    for text, value, reason in zip(texts, checked.frame["value"], checked.reasons, strict=True):
        if value is not None:
            assert value == float(str(text))
        elif reason is None:
            assert not (text or "").strip()
        else:
            assert reason == "wrong-type"


_ANYTHING = st.one_of(
    st.none(), st.text(max_size=20), st.sampled_from(["2026-11-22", "1", "", "\0", "１", "1795305600"])
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.sampled_from(["string", "integer", "float", "boolean", "datetime", "date"]), st.lists(_ANYTHING, max_size=20))
def test_every_value_is_read_or_has_a_reason(type_: str, texts: list[str | None]) -> None:
    checked = one_field(pl.Series(texts, dtype=pl.String), type=type_)
    assert checked.frame.height == len(texts)
    for text, value, reason, detail in zip(
        texts, checked.frame["value"], checked.reasons, checked.details, strict=True
    ):
        assert (reason is None) == (detail is None)
        if reason is None and value is None:
            assert not (text or "").strip()


def test_codes_are_checked_and_told_what_they_may_have_been() -> None:
    good, swapped, short = "91370481200010852T", "91370481200018052T", "9137"
    checked = one_field([good, swapped, short, None], type="string", code="credit_code")
    assert reasons(checked) == [None, "wrong-code", "wrong-code", None]
    assert good in checked.details[1], "two neighbouring signs changed places"
    assert checked.details[2].startswith(f'value = "{short}": ')
