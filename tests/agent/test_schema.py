"""The schema that editors read, held against every site file that there is, by somebody else's validator."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from agent import schema
from tests.tools import guide

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

ROOT = Path(__file__).parents[2]
SITES = sorted(
    [*ROOT.glob("configs/*.example.toml"), ROOT / "configs/demo.toml", *ROOT.glob("tests/cases/*/site.toml")]
)
SCHEMA = schema.schema()
TABLES = {**SCHEMA, "required": []}  # parts of a file are shown, too


def faults(text, known=SCHEMA):
    return [error.message for error in jsonschema.Draft7Validator(known).iter_errors(tomllib.loads(text))]


def test_the_published_schema_is_up_to_date():
    assert (ROOT / "configs/site.schema.json").read_text("utf-8") == schema.text(), "make schema"
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SITES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_site_that_ships_is_right(path):
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize("language", guide.LANGUAGES)
def test_every_part_of_a_site_in_the_guide_is_right(language):
    blocks = guide.blocks(language)
    assert len(blocks) > 10
    for block in blocks:
        assert faults(block, TABLES) == [], block


def test_examples_say_where_the_schema_is():
    for path in [*ROOT.glob("configs/*.example.toml"), ROOT / "configs/demo.toml"]:
        first = path.read_text("utf-8").splitlines()[0]
        assert first == "#:schema site.schema.json", path


SITE = """
[site]
name = "s"
[[bus]]
name = "b"
url = "tcp://h:502"
[[bus.device]]
name = "d"
channel = [{ key = "c", at = "holding:0", type = "uint16" }]
[[rule]]
name = "r"
kind = "high"
channel = "d/c"
limit = 1.0
[[uplink]]
name = "u"
url = "mqtt://h"
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('name = "s"', 'nam = "s"'),
        ("[site]", "[sight]"),
        ('name = "s"', 'name = "s"\nlanguage = "fr"'),
        ('name = "s"', 'name = "a/b"'),
        ('url = "tcp://h:502"', 'url = "tcp://h:502"\nparity = "X"'),
        ('url = "tcp://h:502"', 'url = "tcp://h:502"\nbaud = 10'),
        ('url = "tcp://h:502"', 'url = "tcp://h:502"\nperod = 1'),
        ('url = "tcp://h:502"', 'driver = "modbuss"\nurl = "tcp://h:502"'),
        ('name = "d"', 'name = "d"\nunit = 300'),
        ('name = "d"', 'name = "d"\nunit = "1"'),
        ('name = "d"', "unit = 1"),
        ('key = "c"', 'kay = "c"'),
        ('type = "uint16"', 'type = "uint15"'),
        ('kind = "high"', 'kind = "hihg"'),
        ('kind = "high"', ""),
        ("limit = 1.0", ""),
        ("limit = 1.0", 'limit = "1.0"'),
        ('channel = "d/c"', 'channel = "d/c"\nlevel = "pink"'),
        ('channel = "d/c"', "channel = 3"),
        ('url = "mqtt://h"', ""),
        ('url = "mqtt://h"', 'url = "mqtt://h"\nqos = 7'),
    ],
)
def test_what_is_wrong_is_refused(right, wrong):
    assert faults(SITE) == []
    assert faults(SITE.replace(right, wrong, 1)) != []


def test_fields_say_what_they_mean():
    """Units stand in comments; an editor shows them."""
    found = SCHEMA["definitions"]
    assert found["Device"]["properties"]["period"]["description"] == "s between polls"
    said = [what for one in found.values() for what in one["properties"].values() if "description" in what]
    assert len(said) > 250
    assert json.loads(schema.text()) == json.loads(json.dumps(SCHEMA))


def test_a_package_of_somebody_else_brings_its_own_keys():
    assert faults(SITE.replace('url = "tcp://h:502"', 'driver = "acme:Head"\nfoo = 1', 1)) == []


def test_chinese_names_are_names_for_editors_too():
    pattern = SCHEMA["definitions"]["Site"]["properties"]["name"]["pattern"]
    assert re.search(pattern, "北矿", re.ASCII)
