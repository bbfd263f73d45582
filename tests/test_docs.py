"""The documentation is tested: what exists is documented, and the generated tables are current."""

import re
from pathlib import Path

import pytest

from tests import docs

ROOT = Path(__file__).parent.parent


def test_generated_tables_are_current() -> None:
    text = docs.README.read_text(encoding="utf-8")
    assert text == docs.filled(text), "run `make docs`"


@pytest.mark.parametrize("name", docs.TABLES)
def test_every_table_is_in_the_readme(name: str) -> None:
    text = docs.README.read_text(encoding="utf-8")
    assert f"<!-- {name}: generated" in text
    assert len(docs.TABLES[name]().splitlines()) > 5


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_within_the_project_lead_somewhere(path: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", (ROOT / path).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_glossary_is_bilingual() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("## Glossary")[1].splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 20
    assert all(re.search(r"[一-鿿]", row) and re.search(r"[a-z]{3}", row) for row in rows[1:])
