"""What a package consists of, for programs that look for known holes: CycloneDX 1.6 (ECMA-424), as JSON.

Made of the wheels themselves: their names, versions, licences and needs in their own words, and their SHA-256, which is
the one of the lock file. Libraries that a wheel has inside and tells of (PEP 770) are told on.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name

from .wheels import Target, Wheel

SPACE = uuid.UUID("6f1c9e0e-3c0e-5d8f-9a6e-2f8d1f0a7c11")  # of our serial numbers


def bill(name: str, version: str, wheels: Mapping[str, Wheel], target: Target, epoch: int) -> str:
    """The bill of one package as a text of JSON. epoch: s since 1970, when it says that it was made."""
    whole = f"pkg:deb/vedette/{name}@{version}?arch={target.arch}"
    components = [_component(wheel) for wheel in wheels.values()]
    tree = {_ref(wheel): _needs(wheel, wheels, target) for wheel in wheels.values()}
    inside = {_ref(wheel): _inside(wheel) for wheel in wheels.values()}
    for component in components:
        if grafted := inside[component["bom-ref"]]:
            component["components"] = grafted
    made = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made,
            "component": {
                "type": "application",
                "bom-ref": whole,
                "name": name,
                "version": version,
                "purl": whole,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": whole, "dependsOn": sorted(tree)},
            *({"ref": ref, "dependsOn": needs} for ref, needs in sorted(tree.items())),
        ],
    }
    text["serialNumber"] = uuid.uuid5(SPACE, json.dumps(text, sort_keys=True)).urn
    return json.dumps(text, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _ref(wheel: Wheel) -> str:
    return f"pkg:pypi/{wheel.name}@{wheel.version}"


def _component(wheel: Wheel) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(wheel),
        "name": wheel.name,
        "version": wheel.version,
        "purl": _ref(wheel),
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        "licenses": [_licence(wheel)],
        "externalReferences": [
            {"type": "distribution", "url": wheel.page(), "comment": wheel.path.name},
        ],
    }
    if summary := wheel.about.get("Summary"):
        component["description"] = str(summary).strip()
    return component


def _licence(wheel: Wheel) -> dict[str, Any]:
    if expression := wheel.about.get("License-Expression"):
        return {"expression": str(expression).strip()}
    return {"license": {"name": wheel.licence()}}


def _needs(wheel: Wheel, wheels: Mapping[str, Wheel], target: Target) -> list[str]:
    """Which of the others it needs."""
    names = {canonicalize_name(row.name) for row in wheel.needs(target)}
    return sorted(_ref(wheels[name]) for name in names if name in wheels)


def _inside(wheel: Wheel) -> list[dict[str, Any]]:
    """Libraries that the wheel says it has inside."""
    found = []
    with zipfile.ZipFile(wheel.path) as archive:
        for name in archive.namelist():
            if re.search(r"\.dist-info/sboms/.*\.json$", name):
                for part in json.loads(archive.read(name)).get("components", []):
                    ref = f"{_ref(wheel)}#{part.get('bom-ref') or part['name']}"
                    kept = {
                        key: part[key] for key in ("type", "name", "version", "purl", "cpe", "licenses") if key in part
                    }
                    found.append({"type": "library", **kept, "bom-ref": ref})
    return found
