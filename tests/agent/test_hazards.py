"""Inventories in tonnes, and the index and level that they make."""

import msgspec
import pytest

from agent import cli, config
from agent.complaints import Complaints, Places
from agent.core.errors import ConfigFault
from agent.hazards import Term, assessed, hazards, sentence, standard

BY = standard()


def of(*terms, people=1):
    """A unit that holds (t, Q, beta) of some substances."""
    rows = [Term(f"s{i}", q, critical, beta, "") for i, (q, critical, beta) in enumerate(terms)]
    return assessed("unit", people, rows, BY)


def read(inventory):
    told = Complaints(Places())
    return hazards(msgspec.toml.decode(inventory), told), "\n".join(told.lines)


@pytest.mark.parametrize(
    ("people", "alpha"),
    [(0, 0.5), (1, 1.0), (29, 1.0), (30, 1.2), (49, 1.2), (50, 1.5), (99, 1.5), (100, 2.0), (5000, 2.0)],
)
def test_alpha_by_people_outside(people, alpha):
    hazard = of((10.0, 1.0, 1.0), people=people)
    assert (hazard.alpha, hazard.index) == (alpha, 10.0 * alpha)


@pytest.mark.parametrize(
    ("index", "level"),
    [(1.0, 4), (9.99, 4), (10.0, 3), (49.99, 3), (50.0, 2), (99.99, 2), (100.0, 1), (1e4, 1)],
)
def test_level_by_index_the_bounds_belong_to_the_worse(index, level):
    assert (of((index, 1.0, 1.0)).level, of((index, 1.0, 1.0)).index) == (level, index)


@pytest.mark.parametrize(
    ("shares", "total", "level"),
    [
        ([0.99], 0.99, 0),
        ([0.7, 0.2, 0.1], 1.0, 4),  # as floats: 0.9999999999999999
        ([0.1] * 10, 1.0, 4),
        ([0.1] * 9, 0.9, 0),
        ([0.5, 0.49999], 0.99999, 0),
    ],
)
def test_one_whole_critical_quantity_makes_a_major_hazard_installation(shares, total, level):
    hazard = of(*((share, 1.0, 1.0) for share in shares))
    assert (hazard.total, hazard.level) == (total, level)


def test_a_level_is_only_for_what_is_a_major_hazard_installation():
    phosgene = of((0.2, 0.3, 20.0), people=200)  # R is 26.7, and yet less than Q is there
    assert phosgene.index == pytest.approx(2.0 * 20.0 * 2 / 3)
    assert phosgene.level == 0


FARM = """
[[unit]]
name = "tank farm"
people = 45

  [[unit.substance]]
  name = "ammonia"
  quantity = 60.0

  [[unit.substance]]
  name = "our solvent"
  quantity = 800.0
  class = "W5.3"

  [[unit.substance]]
  name = "catalyst"
  quantity = 1.0
  critical = 50.0
  beta = 1.0
"""


def test_an_inventory_by_hand():
    (farm,), told = read(FARM)
    assert told == ""
    assert [(t.name, t.critical, t.beta) for t in farm.terms] == [
        ("ammonia", 10.0, 2.0),
        ("our solvent", 1000.0, 1.0),
        ("catalyst", 50.0, 1.0),
    ]
    assert farm.total == 6.82
    assert farm.index == pytest.approx(1.2 * (12.0 + 0.8 + 0.02))
    assert farm.level == 3
    assert [t.source for t in farm.terms] == [
        "GB 18218-2018, verify, by name",
        "GB 18218-2018, verify, class W5.3",
        "critical and beta by the site",
    ]
    assert sentence(farm) == "tank farm: major hazard installation of level 3, R = 15.38 (S = 6.82, alpha 1.2)"
    assert sentence(farm, "zh").startswith("tank farm:三级重大危险源")


@pytest.mark.parametrize("name", ["ammonia", "Ammonia", "NH3", "nh3", "氨", "液氨"])
def test_a_substance_has_many_names(name):
    (farm,), _ = read(FARM.replace('"ammonia"', f'"{name}"'))
    assert farm.terms[0].critical == 10.0


def test_no_name_means_two_substances():
    names = [n.casefold() for key, row in BY.substance.items() for n in {key.casefold(), row.zh, *row.also}]
    assert len(names) == len(set(names))


def test_the_shipped_numbers_that_domain_knows():
    assert [(a.people, a.factor) for a in BY.alpha] == [(0, 0.5), (1, 1.0), (30, 1.2), (50, 1.5), (100, 2.0)]
    assert [(s.level, s.index) for s in BY.level] == [(1, 100.0), (2, 50.0), (3, 10.0)]
    assert BY.verify
    assert {n: BY.substance[n].beta for n in ("coal gas", "chlorine", "hydrogen sulphide", "phosgene")} == {
        "coal gas": 2.0,
        "chlorine": 4.0,
        "hydrogen sulphide": 5.0,
        "phosgene": 20.0,
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"ammonia"', '"amonia"', "`amonia` is not in the table; did you mean `ammonia`?; give its class, or critical"),
        ('"W5.3"', '"W5.9"', "no class is called `W5.9`"),
        ("beta = 1.0", "", "`catalyst` is not in the table"),
        ("quantity = 60.0", "quantity = -1.0", "quantity"),
        ("people = 45", "", "people"),
        ("people = 45", "persons = 45", "persons"),
        ("[[unit]]", "[unit]", "an inventory is a list of tables"),
    ],
)
def test_a_wrong_inventory_is_told_and_nothing_is_guessed(old, new, says):
    text = FARM.replace(old, new) if old != "[[unit]]" else '[unit]\nname = "x"\n'
    found, told = read(text)
    assert found == []
    assert says in told


SITE = """
[site]
name = "works"
builtin = false
hazards = "hazards.toml"

[[bus]]
name = "line"
url = "tcp://127.0.0.1:502"

  [[bus.device]]
  name = "tank"
  unit = 1
  channel = [{ key = "level", at = "holding:0", type = "float32", unit = "m" }]
"""


def test_a_site_has_its_inventory_and_complains_with_the_line(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)
    with pytest.raises(ConfigFault, match=r"inventory hazards\.toml cannot be read"):
        config.load(tmp_path / "site.toml")
    (tmp_path / "hazards.toml").write_text(FARM)
    site = config.load(tmp_path / "site.toml")
    assert [(h.unit, h.level) for h in site.hazards] == [("tank farm", 3)]
    (tmp_path / "hazards.toml").write_text(FARM.replace("quantity = 60.0", "quantity = 61.0"))
    assert config.load(tmp_path / "site.toml").hash != site.hash
    (tmp_path / "hazards.toml").write_text(FARM.replace('"ammonia"', '"stuff"'))
    with pytest.raises(ConfigFault) as fault:
        config.load(tmp_path / "site.toml")
    assert fault.value.complaints[0].startswith("hazards.toml:7: unit `tank farm`: `stuff` is not in the table")


def test_the_verb_shows_every_term(tmp_path, capsys):
    (tmp_path / "farm.toml").write_text(FARM)
    assert cli.main(["hazards", str(tmp_path / "farm.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tank farm: major hazard installation of level 3, R = 15.38 (S = 6.82, alpha 1.2)"
    assert lines[1] == "  ammonia: 60 t / 10 t = 6, x beta 2 = 12 (GB 18218-2018, verify, by name)"
    assert lines[-1] == "  alpha 1.2 for 45 people (GB 18218-2018, verify)"
    assert cli.main(["hazards"]) == 0
    assert "chlorine" in capsys.readouterr().out
    (tmp_path / "farm.toml").write_text("unit = 3")
    assert cli.main(["hazards", str(tmp_path / "farm.toml")]) == cli.CONFIG
