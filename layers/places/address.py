"""Chinese address texts of one city, read into their levels. Pure text: it knows names, not places.

The order is that of GB/T 23705's levels: district, town, village, road, number, building; any may be missing, and what
is in brackets or behind the number is looked through for those. What names another province, city or district is
`elsewhere`: it is never read as an address of this city.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from twin.city import City
from twin.identifiers import Fault, Identifier, find_stake

__all__ = ["Address", "Vocabulary", "parse"]

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_NOISE = re.compile(r"[\s,，。、;；:：!！?？“”\"'·]+")
_LEAD = re.compile(
    r"^(?:详细)?(?:地址|住址|住所|地点|位置|事发地|家住|住在|我家在|我家的地址是|我在|位于|现住|在)(?:是|为)?"
)
_BRACKET = re.compile(r"[(（\[【]")
_BRACKETS = re.compile(r"[(（\[【](.*?)[)）\]】]")
_LEAD_SIGNS = frozenset("详地住位事家我现在")
_MAY_HAVE_STAKE = re.compile(r"[Kk]\s*\d|\d\s*(?:公里|千米)")
_MAY_HAVE_VILLAGE = re.compile(r"[村庄区会]")
_POSTCODE = re.compile(r"^\d{6}")
_PROVINCES = (
    "北京", "天津", "河北", "山西", "内蒙古", "辽宁", "吉林", "黑龙江", "上海", "江苏", "浙江", "安徽",
    "福建", "江西", "山东", "河南", "湖北", "湖南", "广东", "广西", "海南", "重庆", "四川", "贵州",
    "云南", "西藏", "陕西", "甘肃", "青海", "宁夏", "新疆", "香港", "澳门", "台湾",
)  # fmt: skip
_OTHER_AREA = re.compile(r"^([\u4e00-\u9fa5]{2,7}?)(自治区|自治州|特别行政区|地区|省|市|区|县|旗|州)")
_NO_AREA = re.compile(
    r"(?:小|社|景|园|校|厂|城|新|开发|高新|矿|库|片|山|牧|营|闹|市|住宅|工业|生活|家属|服务|保税|度假|风景)$"
)
_TOWN_SUFFIX = re.compile(r"(?:街道办事处|街道办|街道|办事处|镇政府|镇|乡|街办)")
_VILLAGE = re.compile(r"([\u4e00-\u9fa5]{1,8}?(?:自然村|新村|村|社区|居委会|村委会|庄))")
_ROAD = re.compile(
    r"([\u4e00-\u9fa5A-Za-z]{1,9}?(?:大道|大街|路|街|巷|胡同|公路|国道|省道))(?!口|灯|人|桥|边|段|上)(?:[东西南北中]段)?"
)
_HUNDREDS = "零一二三四五六七八九"
_NUMBER = re.compile(
    r"^(?:第)?(?:(?P<number>\d{1,5})(?P<sub>[-—之]\d{1,4}|[甲乙丙丁])?|(?P<words>[零一二三四五六七八九十百]{1,5}))"
    r"(?:号(?!院?楼)院?|(?=附近|旁|对面|门口|$))"
)
_BUILDING = re.compile(
    r"(?:(?P<number>[0-9A-Za-z]{1,4})|(?P<words>[一二三四五六七八九十]{1,3}))(?:号楼|栋|幢|座|#楼|#|号院?楼)"
)
_RELATION = re.compile(
    r"附近|旁边?|对面|对过|斜对面|门口|门前|路口|交叉口|交汇处?|十字路口|周边|一带|[东西南北]侧|[东西南北]边|以[东西南北]|往[东西南北]"
)
_CROSSING = re.compile(r"^(?:[与和跟同及—-]|交)")
_CROSSING_END = re.compile(r"^(?:交叉口|交叉路口|交汇处?|路口|十字路口|口|处)")
_SHORTEST_ALIAS = 2


class Address(NamedTuple):
    """The levels of an address: district and town as codes, the others as words; None where the text has none.

    `crossing` is the second road of a crossing, `relation` a word such as 附近, `rest` what no level took, `stake` a
    road with a stake, `elsewhere` the area outside the city that the text names.
    """

    district: str | None = None
    town: str | None = None
    village: str | None = None
    road: str | None = None
    crossing: str | None = None
    number: str | None = None
    building: str | None = None
    relation: str | None = None
    rest: str = ""
    stake: Identifier | Fault | None = None
    elsewhere: str | None = None


class _Words:
    """Known words of one kind, found at the front of a text: the longest one."""

    __slots__ = ("_firsts", "_lengths", "known")

    def __init__(self, known: Mapping[str, tuple[str, ...]]) -> None:
        self.known = known
        self._firsts = frozenset(word[0] for word in known)
        self._lengths = tuple(sorted({len(word) for word in known}, reverse=True))

    def at_front(self, text: str) -> str | None:
        """The longest word with which a text begins."""
        if text[:1] in self._firsts:
            for length in self._lengths:
                word = text[:length]
                if word in self.known:
                    return word
        return None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one city: its districts and towns with the codes that bear each name, its villages and roads."""

    districts: _Words
    towns: _Words
    villages: _Words
    roads: _Words
    prefix: re.Pattern[str]

    @classmethod
    def of(cls, city: City, villages: Iterable[str] = (), roads: Iterable[str] = ()) -> "Vocabulary":
        """The vocabulary of a city profile and of the names its layers know."""
        districts: dict[str, tuple[str, ...]] = {}
        towns: dict[str, tuple[str, ...]] = {}
        for district in city.districts:
            name, code = district.title.zh, (district.code,)
            districts[name] = code
            # 市中区 without its last sign is a word of everyday: 市中心.
            if len(name) > _SHORTEST_ALIAS and not name.startswith("市"):
                districts[name[:-1]] = code
            for town in district.towns:
                for word in {town.title.zh, _TOWN_SUFFIX.sub("", town.title.zh)}:
                    towns[word] = (*towns.get(word, ()), town.code)
        for unit in city.reporting_units:
            if len(unit.within) == 1 and "高新" in unit.title.zh:
                districts |= dict.fromkeys(("高新技术开发区", "高新技术产业开发区", "高新区"), unit.within)
        name = re.escape(city.title.zh.removesuffix("市"))
        before = "|".join(map(re.escape, city.province)) or "(?!)"
        prefix = re.compile(
            rf"^(?:{re.escape(city.country.zh)})?(?:{before})?(?:{name}(?:市(?![立直级民政一二三医中图博]))?)?"
        )
        known_villages, known_roads = (_Words(dict.fromkeys(filter(None, found), ())) for found in (villages, roads))
        return cls(_Words(districts), _Words(towns), known_villages, known_roads, prefix)


def parse(text: str, words: Vocabulary) -> Address:
    """Read an address text. Never fails: what is not understood stands in `rest`."""
    plain = text.translate(_FULL_WIDTH)
    stake = find_stake(plain) if _MAY_HAVE_STAKE.search(plain) else None
    asides = _BRACKETS.findall(plain) if _BRACKET.search(plain) else []
    main = _NOISE.sub("", _BRACKETS.sub("", plain) if asides else plain)
    reader = _Reader(words)
    reader.read(_LEAD.sub("", main, count=1) if main[:1] in _LEAD_SIGNS else main)
    for aside in asides:
        reader.look_through(_NOISE.sub("", aside))
    return reader.address(stake[2] if stake else None)


class _Reader:
    """Reads level after level from the front of a text."""

    __slots__ = (
        "building",
        "crossing",
        "district",
        "elsewhere",
        "number",
        "relation",
        "rest",
        "road",
        "town",
        "village",
        "words",
    )

    def __init__(self, words: Vocabulary) -> None:
        self.words = words
        self.district = self.town = self.village = self.road = self.crossing = None
        self.number = self.building = self.relation = self.elsewhere = None
        self.rest = ""

    def address(self, stake: Identifier | Fault | None) -> Address:
        return Address(
            self.district, self.town, self.village, self.road, self.crossing, self.number, self.building,
            self.relation, self.rest, stake, self.elsewhere,
        )  # fmt: skip

    def read(self, text: str) -> None:
        text = self._areas(text)
        if self.elsewhere is not None:
            self.rest = text
            return
        text = self._village(text)
        text = self._road(text)
        self._behind(text)

    def look_through(self, aside: str) -> None:
        """Take from a text in brackets the levels that are still missing."""
        if self.elsewhere is None and (self.district is None or self.town is None):
            other = _Reader(self.words)
            other.read(aside)
            self.district, self.town = self.district or other.district, self.town or other.town
            self.village, self.road = self.village or other.village, self.road or other.road

    def _areas(self, text: str) -> str:
        prefix = self.words.prefix.match(text)
        had_prefix = prefix is not None and prefix.end() > 0
        text = text[prefix.end() :] if prefix and had_prefix else text
        if text[:1].isdigit() and (postcode := _POSTCODE.match(text)):
            text = self.words.prefix.sub("", text[postcode.end() :], count=1)
        found = self.words.districts.at_front(text)
        # 山亭经济开发区 is a town of 山亭区: the longer name is meant.
        if found and len(self.words.towns.at_front(text) or "") > len(found):
            return self._town(text)
        if found:
            self.district = self.words.districts.known[found][0]
            text = text[len(found) :] if found.endswith(("区", "市", "县")) else text[len(found) :].removeprefix("区")
        elif self._is_elsewhere(text, had_prefix=had_prefix):
            return text
        return self._town(text)

    def _is_elsewhere(self, text: str, *, had_prefix: bool) -> bool:
        if (
            text.startswith(_PROVINCES)
            and not had_prefix
            and self.words.roads.at_front(text) is None
            and not _ROAD.match(text)
        ):
            self.elsewhere = next(filter(text.startswith, _PROVINCES))
            return True
        area = _OTHER_AREA.match(text)
        if (
            area is None
            or _NO_AREA.search(area[1])
            or self.words.villages.at_front(text)
            or self.words.roads.at_front(text)
        ):
            return False
        if had_prefix and area[2] in {"区", "地区", "州", "旗"}:
            return False  # behind the name of the city it is a part of it, whatever it is called
        if self.words.towns.at_front(text) is not None:
            return False
        self.elsewhere = area[0]
        return True

    def _town(self, text: str) -> str:
        found = self.words.towns.at_front(text)
        if found is None:
            return text
        codes = self.words.towns.known[found]
        if self.district is not None:
            codes = tuple(code for code in codes if code.startswith(self.district))
        rest = text[len(found) :]
        suffix = _TOWN_SUFFIX.match(rest) if not _TOWN_SUFFIX.search(found[-2:]) else None
        is_whole = suffix is not None or found.endswith("区") or _TOWN_SUFFIX.search(found[-2:]) is not None
        if len(codes) != 1 or (not is_whole and not self._stands_alone(text, rest)):
            return text
        (self.town,) = codes
        self.district = self.district or self._district_of(self.town)
        return rest[suffix.end() :] if suffix else rest.removeprefix("办事处")

    def _stands_alone(self, text: str, rest: str) -> bool:
        """Whether a town's name without its suffix is the town here, and not the beginning of another name."""
        if self.words.villages.at_front(text) or self.words.roads.at_front(text):
            return False
        return not rest or self.words.villages.at_front(rest) is not None or self.words.roads.at_front(rest) is not None

    def _district_of(self, town: str) -> str:
        return next(code for (code,) in self.words.districts.known.values() if town.startswith(code))

    def _village(self, text: str) -> str:
        found = self.words.villages.at_front(text)
        if found is None:
            match = _VILLAGE.match(text) if _MAY_HAVE_VILLAGE.search(text) else None
            if match is None or _ROAD.match(text[: match.end() + 2]):
                return text
            found = match[1]
        if _ROAD.match(text) and (self.words.roads.at_front(text) or "") > found:
            return text
        self.village = found
        return text[len(found) :].removeprefix("委会").removeprefix("居委会")

    def _road(self, text: str) -> str:
        found = self.words.roads.at_front(text)
        if found is None:
            match = _ROAD.match(text)
            if match is None:
                return text
            found = match[1]
        self.road = found
        text = text[len(found) :]
        if text[:1] in "东西南北中" and text[1:2] == "段":
            text = text[2:]
        joined = _CROSSING.match(text)
        if joined:
            second = self.words.roads.at_front(text[joined.end() :]) or (
                (m := _ROAD.match(text[joined.end() :])) and m[1]
            )
            if second:
                self.crossing, self.relation = second, "交叉口"
                text = text[joined.end() + len(second) :]
                return _CROSSING_END.sub("", text, count=1)
        return text

    def _behind(self, text: str) -> None:
        """House number, building and what is said of the place."""
        found = _NUMBER.match(text)
        if found and (self.road or self.village):
            number = found["number"] or str(_number(found["words"]))
            self.number = number + (found["sub"] or "").replace("—", "-").replace("之", "-")
            text = text[found.end() :]
        building = _BUILDING.search(text)
        if building:
            self.building = building["number"] or str(_number(building["words"]))
            text = text[: building.start()] + text[building.end() :]
        relation = _RELATION.search(text)
        if relation:
            self.relation = self.relation or relation[0]
            text = text[: relation.start()]
        self.rest = text


def _number(words: str) -> int:
    """The number of Chinese numerals up to 999."""
    total, digit = 0, 0
    for sign in words:
        if sign == "百":
            total, digit = total + (digit or 1) * 100, 0
        elif sign == "十":
            total, digit = total + (digit or 1) * 10, 0
        else:
            digit = _HUNDREDS.index(sign)
    return total + digit
