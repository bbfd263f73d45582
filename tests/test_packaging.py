"""The wheel: installed into a clean environment it works from anywhere and brings its data along."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"twin", "layers", "ingest", "simulation", "api", "basemaps"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this tree (without build isolation: what it needs is in the test environment)."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "-q", "-o", str(folder), str(ROOT)],
        check=True,
    )
    return next(folder.glob("*.whl"))


def test_wheel_carries_what_it_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == PACKAGES
    assert "twin/cities/zaozhuang.toml" in names
    assert "layers/catalog/medical/institutions.toml" in names
    assert "api/web/dist/public.html" in names
    assert not [name for name in names if "node_modules" in name or name.startswith("api/web/src")]
    assert wheel.stat().st_size < 4_000_000


def test_wheel_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Imports come from the wheel, not from this tree: the process runs in / with an environment of its own."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--python", str(python), str(wheel)],
        check=True,
    )
    # The dependencies are lent by the test environment, without its editable install of this tree.
    lent = next(Path(sys.prefix).glob("lib/python*/site-packages"))
    script = (
        "import sys; sys.path.append(sys.argv[1]);"
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)];"
        "import twin, layers, api, ingest, basemaps, simulation;"
        "from layers.catalog import catalog; from twin.city import city;"
        "print(twin.__file__, len(catalog()), city().code)"
    )
    out = subprocess.run(
        [str(python), "-c", script, str(lent)], cwd="/", check=True, capture_output=True, text=True
    ).stdout.split()
    assert out[0].startswith(str(venv))
    assert int(out[1]) >= 46
    assert out[2] == "370400"


def test_nobody_else_owns_our_names() -> None:
    """A second distribution with an `api` package would silently overwrite ours."""
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES & owners.keys():
        assert set(owners[name]) == {"citytwin"}, f"{name} is also installed by {owners[name]}"
