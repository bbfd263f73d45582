"""Why a record was refused: the codes of the quarantine, each with a text and what to do, in both languages."""

from enum import StrEnum

from twin.city import Title

__all__ = ["ADVICE", "TEXTS", "Reason"]


class Reason(StrEnum):
    """Why a record stands in quarantine."""

    MISSING_KEY = "missing-key"
    MISSING_VALUE = "missing-value"
    WRONG_TYPE = "wrong-type"
    OUT_OF_RANGE = "out-of-range"
    UNKNOWN_VALUE = "unknown-value"
    PATTERN = "pattern"
    TOO_LONG = "too-long"
    BAD_TIME = "bad-time"
    FUTURE_TIME = "future-time"
    KEY_CONFLICT = "key-conflict"
    NO_PLACE = "no-place"
    UNKNOWN_DEVICE = "unknown-device"
    UNKNOWN_AREA = "unknown-area"
    WRONG_CODE = "wrong-code"
    UNKNOWN_ADDRESS = "unknown-address"
    AMBIGUOUS_ADDRESS = "ambiguous-address"
    UNKNOWN_STAKE = "unknown-stake"
    BAD_COORDINATE = "bad-coordinate"
    NULL_ISLAND = "null-island"
    SWAPPED_AXES = "swapped-axes"
    WRONG_DATUM = "wrong-datum"
    UNKNOWN_DATUM = "unknown-datum"
    DISPLACED_MAP = "displaced-map"
    POSITIONS_DISAGREE = "positions-disagree"
    OUTSIDE_CITY = "outside-city"
    EMPTY_GEOMETRY = "empty-geometry"
    INVALID_GEOMETRY = "invalid-geometry"
    WRONG_GEOMETRY = "wrong-geometry"
    TOO_MANY_VERTICES = "too-many-vertices"
    UNREADABLE_ROW = "unreadable-row"
    UNREADABLE_MESSAGE = "unreadable-message"
    INCOMPLETE_MESSAGE = "incomplete-message"
    FAILED = "failed"


TEXTS: dict[Reason, Title] = {
    Reason.MISSING_KEY: Title(zh="主键字段为空", en="a key field is empty"),
    Reason.MISSING_VALUE: Title(zh="必填字段为空", en="a required field is empty"),
    Reason.WRONG_TYPE: Title(zh="值的类型不符", en="the value is not of the field's type"),
    Reason.OUT_OF_RANGE: Title(zh="值超出允许范围", en="the value is outside the field's range"),
    Reason.UNKNOWN_VALUE: Title(zh="代码不在取值表内", en="the code is not one of the field's values"),
    Reason.PATTERN: Title(zh="值不符合格式", en="the value does not have the field's form"),
    Reason.TOO_LONG: Title(zh="文本过长", en="the text is longer than the field allows"),
    Reason.BAD_TIME: Title(zh="时间无法识别或先后颠倒", en="the time cannot be read, or it ends before it starts"),
    Reason.FUTURE_TIME: Title(zh="时间在未来", en="the time lies in the future"),
    Reason.KEY_CONFLICT: Title(
        zh="同批中主键相同而内容不同", en="another record of the batch has this key and other content"
    ),
    Reason.NO_PLACE: Title(zh="没有任何定位方式成立", en="no rung of the place rule passed its check"),
    Reason.UNKNOWN_DEVICE: Title(zh="登记表中没有此编号", en="the register knows no such id"),
    Reason.UNKNOWN_AREA: Title(zh="登记表中没有此区划代码", en="the register knows no area of this code"),
    Reason.WRONG_CODE: Title(zh="编码的校验位或结构有误", en="the code's check digit or form is wrong"),
    Reason.UNKNOWN_ADDRESS: Title(zh="地址中没有本市已知的地名", en="the address names no known place of the city"),
    Reason.AMBIGUOUS_ADDRESS: Title(
        zh="地址可指多处，或前后矛盾", en="the address fits several places, or contradicts itself"
    ),
    Reason.UNKNOWN_STAKE: Title(zh="道路或桩号不存在", en="there is no such road or stake"),
    Reason.BAD_COORDINATE: Title(zh="坐标缺失或不是有限数值", en="a coordinate is missing or not a finite number"),
    Reason.NULL_ISLAND: Title(zh="坐标为 (0, 0)", en="the coordinate is (0, 0)"),
    Reason.SWAPPED_AXES: Title(zh="经纬度颠倒", en="longitude and latitude are swapped: swapped they would fit"),
    Reason.WRONG_DATUM: Title(
        zh="坐标基准与声明不符，整批待人工确认",
        en="the batch is in another datum than declared, and waits for a person",
    ),
    Reason.UNKNOWN_DATUM: Title(
        zh="无法判定坐标基准，整批待人工确认", en="no datum fits what is known, and the batch waits for a person"
    ),
    Reason.DISPLACED_MAP: Title(
        zh="整批位置平移或缩放，待人工确认", en="the whole map is displaced, and the batch waits for a person"
    ),
    Reason.POSITIONS_DISAGREE: Title(zh="同一记录的两个位置相互矛盾", en="two positions of the record disagree"),
    Reason.OUTSIDE_CITY: Title(zh="位置在城市范围之外", en="the place lies outside the city"),
    Reason.EMPTY_GEOMETRY: Title(zh="几何为空", en="the geometry is empty"),
    Reason.INVALID_GEOMETRY: Title(zh="几何无效且无法修复", en="the geometry is invalid and could not be repaired"),
    Reason.WRONG_GEOMETRY: Title(zh="几何类型不符", en="the geometry is not of the contract's type"),
    Reason.TOO_MANY_VERTICES: Title(zh="顶点过多", en="the geometry has too many vertices"),
    Reason.UNREADABLE_ROW: Title(zh="该行无法解析", en="the row cannot be read"),
    Reason.UNREADABLE_MESSAGE: Title(zh="报文无法解析", en="the message cannot be read"),
    Reason.INCOMPLETE_MESSAGE: Title(zh="分包不全", en="other pieces of the message never arrived"),
    Reason.FAILED: Title(zh="处理时出错", en="the twin failed to take it in"),
}

ADVICE: dict[Reason, Title] = {
    Reason.MISSING_KEY: Title(zh="补全主键后重新提交", en="fill in the key and send the record again"),
    Reason.MISSING_VALUE: Title(zh="补全字段后重新提交", en="fill in the field and send the record again"),
    Reason.WRONG_TYPE: Title(zh="按契约的类型填写", en="write the value in the type the contract says"),
    Reason.OUT_OF_RANGE: Title(zh="核对数值与单位", en="check the number and its unit"),
    Reason.UNKNOWN_VALUE: Title(
        zh="改用取值表中的代码，或在契约中增加", en="use a listed code, or add it to the contract"
    ),
    Reason.PATTERN: Title(zh="核对编号的位数与格式", en="check the length and the form of the code"),
    Reason.TOO_LONG: Title(
        zh="缩短文本，或在契约中放宽长度", en="shorten the text, or raise max_length in the contract"
    ),
    Reason.BAD_TIME: Title(zh="写成 2026-11-22 08:00:00 的形式", en="write it as 2026-11-22 08:00:00"),
    Reason.FUTURE_TIME: Title(zh="校准设备时钟后重放", en="set the device's clock, then replay"),
    Reason.KEY_CONFLICT: Title(
        zh="确认哪一条正确，删除另一条", en="say which of the two is right and remove the other"
    ),
    Reason.NO_PLACE: Title(zh="补充坐标、设备编号或区划代码", en="add a coordinate, a device id or an area code"),
    Reason.UNKNOWN_DEVICE: Title(zh="先登记设备，再重放", en="register the device, then replay"),
    Reason.UNKNOWN_AREA: Title(
        zh="核对区划代码，或先载入区划", en="check the code, or load the areas first, then replay"
    ),
    Reason.WRONG_CODE: Title(zh="对照证照核对编码", en="check the code against the document"),
    Reason.UNKNOWN_ADDRESS: Title(zh="写全区县、道路与门牌号", en="write the district, the road and the house number"),
    Reason.AMBIGUOUS_ADDRESS: Title(zh="补充区县或镇街", en="add the district or the town"),
    Reason.UNKNOWN_STAKE: Title(zh="核对路线编号与桩号", en="check the road's number and the stake"),
    Reason.BAD_COORDINATE: Title(zh="补全坐标", en="fill in both coordinates"),
    Reason.NULL_ISLAND: Title(zh="设备未定位；补充真实坐标", en="the device had no fix; give its true coordinate"),
    Reason.SWAPPED_AXES: Title(zh="交换经度与纬度两列", en="swap the two columns, then load again"),
    Reason.WRONG_DATUM: Title(
        zh="确认后以 --datum 指定基准重放", en="if that is right, replay with --datum and the word"
    ),
    Reason.UNKNOWN_DATUM: Title(
        zh="向提供方询问坐标基准，再以 --datum 重放", en="ask its owner for the datum, then replay with --datum"
    ),
    Reason.DISPLACED_MAP: Title(zh="请提供方重新配准后再提交", en="have its owner georeference it again"),
    Reason.POSITIONS_DISAGREE: Title(
        zh="核对坐标与地址或编号，改正其一", en="compare the coordinate with the address or the code; correct one"
    ),
    Reason.OUTSIDE_CITY: Title(zh="核对坐标与基准面", en="check the coordinate and its datum"),
    Reason.EMPTY_GEOMETRY: Title(zh="补充几何", en="give the record a geometry"),
    Reason.INVALID_GEOMETRY: Title(zh="在制图软件中修复后重新提交", en="mend it in a GIS and send it again"),
    Reason.WRONG_GEOMETRY: Title(zh="按契约的几何类型提交", en="send the type of geometry the contract says"),
    Reason.TOO_MANY_VERTICES: Title(zh="简化后重新提交", en="simplify it and send it again"),
    Reason.UNREADABLE_ROW: Title(zh="核对文件的列数、引号与编码", en="check the file's columns, quotes and encoding"),
    Reason.UNREADABLE_MESSAGE: Title(
        zh="检查设备的协议版本与线路", en="check the device's protocol, its version and the line"
    ),
    Reason.INCOMPLETE_MESSAGE: Title(zh="请设备重发该报文", en="have the device send the message again"),
    Reason.FAILED: Title(zh="将详情告知维护人员，修复后重放", en="tell the maintainers what it says, then replay"),
}
