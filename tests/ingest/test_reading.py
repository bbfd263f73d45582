"""A file is read as what it holds, never as what it is called; nothing harmful gets as far as a library."""

import gzip
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import openpyxl
import osmium
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.codecs.records import ROW, ReadOptions, Records
from ingest.reading import open_records
from tests.ingest.contracts import contract
from twin.errors import SourceError
from twin.settings import settings

CONTRACT = contract(
    osm={"elements": ["node"], "where": {"amenity": ["*"]}, "map": {"code": "@id"}},
    gtfs={"table": "stops", "map": {"code": "stop_id"}},
)


def read(path: Path, **options: Any) -> list[Records]:
    return list(open_records(path, CONTRACT, ReadOptions(**options)))


def codes(path: Path, **options: Any) -> list[str]:
    return [str(code) for records in read(path, **options) for code in records.frame["code"]]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, **options)
    assert caught.value.where
    return str(caught.value)


def packed(path: Path, **members: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def places() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"code": ["1", "2"]}, geometry=[shapely.Point(117, 34)] * 2, crs=4490)


def _csv(path: Path) -> None:
    path.write_text("code,name\n1,a\n2,b\n")


def _xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["code"], ["1"], ["2"]):
        book.active.append(row)
    book.save(path)


def _shapefile(path: Path) -> None:
    folder = path.parent / "parts"
    folder.mkdir()
    places().to_file(folder / "places.shp", encoding="UTF-8")
    shutil.make_archive(str(path.with_suffix("")), "zip", folder)


def _feed(path: Path) -> None:
    packed(path, **{"stops.txt": "stop_id,stop_lat,stop_lon\n1,34,117\n2,34,117\n"})


def _osm(path: Path) -> None:
    with osmium.SimpleWriter(str(path)) as writer:
        for number in (1, 2):
            tags = {"amenity": "bench"}
            writer.add_node(osmium.osm.mutable.Node(id=number, version=1, location=(117, 34), tags=tags))


def _tiff(path: Path) -> None:
    profile = {"width": 2, "height": 2, "count": 1, "dtype": "uint8", "crs": "EPSG:4490"}
    with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(0.1, 0, 117, 0, -0.1, 34), **profile) as to:
        to.write(np.ones((1, 2, 2), dtype=np.uint8))


MAKERS: dict[str, Callable[[Path], None]] = {
    "table.csv": _csv,
    "book.xlsx": _xlsx,
    "places.geojson": lambda path: places().to_file(path, driver="GeoJSON"),
    "places.zip": _shapefile,
    "places.gpkg": lambda path: places().to_file(path),
    "places.fgb": lambda path: places().to_file(path),
    "places.parquet": lambda path: places().to_parquet(path),
    "feed.zip": _feed,
    "extract.osm.pbf": _osm,
    "dem.tif": _tiff,
}


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / name
        MAKERS[name](path)
        return path

    return make


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The smallest limit to what may be loaded: 1 MB."""
    monkeypatch.setenv("TWIN_MAX_UPLOAD_MB", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("name", MAKERS)
def test_each_format_under_its_name_and_under_none(made: Callable[[str], Path], name: str) -> None:
    path = made(name)
    nameless = path.parent / "5f2a9c"
    shutil.copy(path, nameless)
    for source, options in ((path, {}), (nameless, {}), (nameless, {"name": name})):
        batches = read(source, **options)
        assert [batch.frame.height for batch in batches] == [1 if name == "dem.tif" else 2]
        assert ROW in batches[0].frame.columns


def test_name_of_a_copy_is_the_name_of_the_file(made: Callable[[str], Path]) -> None:
    copy = made("dem.tif").rename(made("table.csv").with_name("5f2a9c"))
    (records,) = read(copy, name="高程2026.tif")
    assert records.frame["coverage_id"].to_list() == ["高程2026"]


@pytest.mark.parametrize("name", MAKERS)
def test_name_of_another_format_is_refused(made: Callable[[str], Path], name: str) -> None:
    path = made(name)
    other = path.with_name("wrong.gpkg" if name != "places.gpkg" else "wrong.csv")
    path.rename(other)
    text = refusal(other)
    assert f"called {other.suffix} but holds" in text
    assert "rename it" in text


def test_shapefile_with_its_parts_in_capitals(tmp_path: Path) -> None:
    places().to_file(tmp_path / "places.shp", encoding="UTF-8")
    for part in list(tmp_path.iterdir()):
        part.rename(part.with_name(f"地点{part.suffix.upper()}"))
    assert codes(tmp_path / "地点.SHP") == ["1", "2"]


def test_archive_of_several_shapefiles_needs_a_choice(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    places().to_file(folder / "one.shp", encoding="UTF-8")
    places().iloc[:1].to_file(folder / "two.shp", encoding="UTF-8")
    path = Path(shutil.make_archive(str(tmp_path / "both"), "zip", folder))
    assert "several shapefiles: one, two" in refusal(path)
    assert codes(path, layer="two") == ["1"]
    assert "no single shapefile 'three'" in refusal(path, layer="three")


class _GbkName(zipfile.ZipInfo):
    """A member whose name is written as Chinese systems do: in GBK, without a flag that says so."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def test_archive_with_chinese_names_in_gbk(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("地点", "站点"):
        places().to_file(folder / f"{name}.shp", encoding="GBK")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part in folder.iterdir():
            archive.writestr(_GbkName(f"数据/{part.name}"), part.read_bytes())
    assert "数据/地点, 数据/站点" in refusal(path)
    assert codes(path, layer="站点") == ["1", "2"]


def test_gzip(tmp_path: Path, made: Callable[[str], Path]) -> None:
    for name in ("table.csv", "places.geojson"):
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress(made(name).read_bytes()))
        assert codes(path) == ["1", "2"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/vsicurl/http://127.0.0.1:9/a.csv", "only local files"),
        ("/vsizip/a.zip/a.shp", "only local files"),
        ("http://127.0.0.1:9/a.csv", "only local files"),
        ("s3://bucket/a.parquet", "only local files"),
        ("file:///etc/passwd", "only local files"),
        ("/nowhere/a.csv", "cannot be opened: No such file"),
        ("/usr", "this is a folder"),
        ("/dev/null", "no regular file"),
        ("/usr/\0.csv", "cannot be opened"),
        ("/usr/" + "a" * 300, "cannot be opened"),
    ],
)
def test_what_is_no_local_file_is_refused_at_once(path: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_records(Path(path), CONTRACT)
    assert words in str(caught.value)


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    assert "no regular file" in refusal(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "Save it as .xlsx"),
        (b"Rar!\x1a\x07", "Pack it as .zip"),
        (b"<kml/>", "holds XML"),
        (b"  <?xml version='1.0'?><OGRVRTDataSource/>", "holds XML"),
        (b"\x7fELF\x02\x01\x01\0\0", "format is not known"),
        (b"SQLite format 3\0" + bytes(100), "format is not known"),
        (b"PK\x05\x06" + bytes(18), "holds no shapefile and no GTFS feed, but: nothing"),
        (b"PK\x03\x04 broken", "archive is broken"),
        (b"\x1f\x8b broken", "gzip file is broken"),
        (gzip.compress(b"", mtime=0), "gzip file is empty"),
        (gzip.compress(gzip.compress(b"a,b\n", mtime=0), mtime=0), "holds another archive"),
        (gzip.compress(b"a,b\n", mtime=0)[:-5], "gzip file is broken"),
        (b"II*\0" + bytes(100), "broken"),
        (b"fgb\x03fgb\0" + b"\xff" * 100, "has no layer"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", "broken"),
        (b"\0\0\0\x0d\x0a\x09OSMHeader" + b"\xff" * 50, "broken"),
        (b"\0\0\x27\x0a" + bytes(200), "parts of the shapefile are missing"),
    ],
)
def test_unreadable_files_are_refused_with_a_remedy(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert words in refusal(path)


@pytest.mark.parametrize("name", ["../evil.shp", "/etc/evil.shp", "a/../../evil.shp", "..\\evil.shp", "C:evil.shp"])
def test_archive_members_outside_of_it_are_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "evil.zip", **{name: b"x", "stops.txt": "stop_id\n"})
    assert "outside of its own folder" in refusal(path)


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("stops.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "has a link" in refusal(tmp_path / "link.zip")


def test_archives_in_archives_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "outer.zip", **{"stops.txt": "stop_id\n", "inner.zip": b"PK"})
    assert "holds another archive" in refusal(path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = bytes(30_000_000)
    path = packed(tmp_path / "bomb.zip", **{"stops.txt": zeros})
    assert "more than 100 times its size" in refusal(path)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(zeros))
    assert "more than 100 times its size" in refusal(tmp_path / "bomb.csv.gz")
    book = packed(tmp_path / "bomb.xlsx", **{"[Content_Types].xml": "", "xl/workbook.xml": zeros})
    assert "more than 100 times its size" in refusal(book)


def test_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "lie.zip", **{"stops.txt": b"stop_id\n" + bytes(20_000_000)})
    true, false = (20_000_008).to_bytes(4, "little"), (100).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(true, false))
    assert "archive is broken" in refusal(path)


@pytest.mark.usefixtures("small_limit")
def test_what_is_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(700_000).hex().encode()
    (tmp_path / "large.csv").write_bytes(b"code\n" + noise)
    assert "larger than 1 MB" in refusal(tmp_path / "large.csv")
    (tmp_path / "large.csv.gz").write_bytes(gzip.compress(b"code\n" + noise))
    assert "unpacks to more than 1 MB" in refusal(tmp_path / "large.csv.gz")
    path = packed(tmp_path / "large.zip", **{"stops.txt": noise})
    assert "unpacks to more than 1 MB" in refusal(path)


def test_nothing_is_left_behind(tmp_path: Path, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for name in MAKERS:
        read(made(name))
    refusal(packed(tmp_path / "x.zip", **{"places.shp": b"x"}))
    assert list((tmp_path / "temporary").iterdir()) == []


_MAGIC = [
    b"",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"PAR1",
    b"fgb\x03fgb\x00",
    b"II*\0",
    b"MM\0*",
    b"\0\0\x27\x0a",
    b"{",
    b"[",
]
_MAGIC += [
    b'{"type":"FeatureCollection","features":[',
    b"SQLite format 3\0",
    b"\0\0\0\x0d\x0a\x09OSMHeader",
    b"\xff\xfe",
]
_MAGIC += [b"code,name\n", "编号;名称\n".encode("gbk"), b"\xef\xbb\xbfcode\tname\r\n", b'"code","na"me"\n']
_SUFFIXES = ["", ".csv", ".shp", ".gpkg", ".zip"]


def _is_read_or_refused(path: Path) -> None:
    try:
        for records in open_records(path, CONTRACT):
            assert isinstance(records, Records)
    except SourceError:
        pass


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.sampled_from(_MAGIC), st.binary(max_size=300), st.sampled_from(_SUFFIXES))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(magic + rest)
    _is_read_or_refused(path)


@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([name for name in MAKERS if name != "book.xlsx"]),  # half a second each: the next test
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.2, 1),
)
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[float, int]], kept: float
) -> None:
    _is_read_or_refused(_damaged(tmp_path_factory, name, changes, kept))


@hypothesis_settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_workbooks_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    _is_read_or_refused(_damaged(tmp_path_factory, "book.xlsx", changes, 1.0))


def _damaged(factory: pytest.TempPathFactory, name: str, changes: list[tuple[float, int]], kept: float) -> Path:
    """A file of a format with some bytes changed and its end cut off."""
    sound = factory.getbasetemp() / "sound" / name
    if not sound.exists():
        sound.parent.mkdir(exist_ok=True)
        MAKERS[name](sound)
        shutil.rmtree(sound.parent / "parts", ignore_errors=True)
    data = bytearray(sound.read_bytes())
    for where, value in changes:
        data[int(where * len(data))] = value
    path = factory.getbasetemp() / name
    path.write_bytes(data[: max(1, int(len(data) * kept))])
    return path
