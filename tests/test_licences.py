"""Every package that the twin runs on has a licence that we have looked at."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ALLOWED = tomllib.loads((ROOT / "licences.toml").read_text(encoding="utf-8"))


def closure() -> dict[str, metadata.Distribution]:
    """The distributions that the project needs to run, and those that they need."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    waiting = [(Requirement(text), "") for text in needed]
    found: dict[str, metadata.Distribution] = {}
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        known = name in found
        found[name] = metadata.distribution(name)
        for text in found[name].requires or []:
            extras = requirement.extras or (set[str]() if known else {""})
            waiting += [(Requirement(text), wanted) for wanted in extras]
    return found


def licence_of(distribution: metadata.Distribution) -> str:
    """What a distribution says of its licence, in the words of its metadata."""
    said = distribution.metadata
    expression = said.get("License-Expression")
    if expression:
        return expression
    classifiers = [text.split(" :: ")[-1] for text in said.get_all("Classifier") or [] if text.startswith("License")]
    named = [text for text in classifiers if text != "OSI Approved"]
    return " AND ".join(sorted(named)) if named else (said.get("License") or "").strip().splitlines()[0][:60]


def test_every_package_at_run_time_has_an_allowed_licence() -> None:
    found = {name: licence_of(distribution) for name, distribution in closure().items()}
    assert len(found) > 30
    unknown = {
        name: licence
        for name, licence in found.items()
        if licence not in ALLOWED["licences"] and name not in ALLOWED["exceptions"]
    }
    assert not unknown, f"look at these, and add them to licences.toml: {unknown}"
    assert not set(ALLOWED["exceptions"]) - set(found), "an exception that nobody needs any more"


def test_the_libraries_of_the_pages_have_one_too() -> None:
    lock = json.loads((ROOT / "api/web/package-lock.json").read_text(encoding="utf-8"))
    shipped = {
        path.removeprefix("node_modules/"): str(entry.get("license"))
        for path, entry in lock["packages"].items()
        if path and not entry.get("dev")
    }
    assert shipped
    unknown = {name: licence for name, licence in shipped.items() if licence not in ALLOWED["licences"]}
    assert not unknown, unknown


def test_the_bill_of_materials_lists_what_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-file", str(path), sys.executable]
    subprocess.run(command, check=True, capture_output=True)
    bill = json.loads(path.read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {re.sub(r"[-_.]+", "-", component["name"]).lower() for component in bill["components"]}
    assert set(closure()) <= listed
