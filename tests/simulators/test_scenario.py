"""Scenarios: the shipped one is sound, mistakes are named with their line, and the story plays as told."""

import asyncio
import socket

import pytest

from agent import config
from agent.core.errors import ConfigFault, LineLost
from simulators.demo import SITE, STORY, _address, _placed
from simulators.scenario import SHIPPED, TICK, CutUplink, Stage, load

GOOD = """
[scene]
seconds = 20.0
[[plant]]
name = "shaft"
kind = "heading"
[[line]]
name = "net"
url = "tcp://127.0.0.1:0"
[[device]]
name = "shaft"
line = "net"
unit = 1
plant = "shaft"
profile = "vedette-sim-heading"
[[beat]]
at = 2.0
do = "set"
plant = "shaft"
to = { fan = false }
say = "The fan stops."
[[beat]]
after = "shaft/siren"
wait = 1.0
do = "set"
plant = "shaft"
to = { fan = true }
[[beat]]
at = 3.0
do = "freeze"
device = "shaft"
channel = "co"
[[hazard]]
name = "gas"
truth = { plant = "shaft", quantity = "ch4_t1", above = 1.0 }
channel = "shaft/ch4_t1"
rule = "ch4.alarm"
[[hazard]]
name = "frozen"
truth = { device = "shaft", channel = "co", is = "frozen" }
channel = "shaft/co"
rule = "stuck"
"""


def written(tmp_path, text):
    path = tmp_path / "story.toml"
    path.write_text(text, "utf-8")
    return path


MISTAKES = {
    "unknown table": ("[scene]", "[scenne]", "unknown table `scenne`; did you mean `scene`?"),
    "unknown key": ("seconds = 20.0", "second = 20.0", "story.toml:3: [scene]: unknown key `second`; did you mean"),
    "wrong type": ("seconds = 20.0", 'seconds = "20"', "story.toml:3: [scene]: `seconds` = '20': should be a number"),
    "unknown kind": (
        'kind = "heading"',
        'kind = "haeding"',
        "story.toml:6: plant `shaft`: no kind is called `haeding`",
    ),
    "no such line": ('line = "net"', 'line = "nett"', "device `shaft`: no line is called `nett`; did you mean `net`?"),
    "bad url": ("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "line `net`: tcp://HOST:PORT or rtu:///PATH"),
    "unit": ("unit = 1", "unit = 300", "story.toml:13: device `shaft`: `unit` = 300: must be <= 247"),
    "no such profile": ("vedette-sim-heading", "vedette-sim-headin", "did you mean `vedette-sim-heading`?"),
    "foreign profile": ("vedette-sim-heading", "vedette-sim-sump", "nothing in a heading measures `level`"),
    "unknown action": ('do = "freeze"', 'do = "freze"', "a beat cannot do 'freze'; did you mean `freeze`?"),
    "action's key": ('channel = "co"\n[[haz', 'chanel = "co"\n[[haz', "beat `freeze`: unknown key `chanel`"),
    "unknown input": ("fan = false", "fann = false", "beat `set`: `shaft` has no `fann`; did you mean `fan`?"),
    "input's type": ("fan = false", "fan = 0.0", "beat `set`: `fan` should be true or false, is 0.0"),
    "no time": ("at = 3.0\n", "", "beat `freeze`: say when: either `at`, or `after` an output"),
    "unknown output": ('after = "shaft/siren"', 'after = "shaft/sirene"', "did you mean `shaft/siren`?"),
    "unknown quantity": ('quantity = "ch4_t1"', 'quantity = "ch4_t9"', "no quantity is called `ch4_t9`"),
    "two limits": ("above = 1.0", "above = 1.0, below = 2.0", "hazard `gas`: give one limit, `above` or `below`"),
    "unknown condition": ('is = "frozen"', 'is = "frosen"', "no is is called `frosen`"),
    "not TOML": ("[scene]", "[scene", "story.toml:2: not TOML"),
}


@pytest.mark.parametrize(("good", "bad", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(tmp_path, good, bad, said):
    assert good in GOOD
    with pytest.raises(ConfigFault) as fault:
        load(written(tmp_path, GOOD.replace(good, bad, 1)))
    assert any(said in complaint for complaint in fault.value.complaints), fault.value.complaints


def test_all_mistakes_are_told_at_once(tmp_path):
    text = (
        GOOD.replace("seconds =", "second =")
        .replace("fan = false", "fann = false")
        .replace('"net"\nunit', '"nt"\nunit')
    )
    with pytest.raises(ConfigFault) as fault:
        load(written(tmp_path, text))
    assert len(fault.value.complaints) == 3


def test_a_missing_file_is_a_complaint(tmp_path):
    with pytest.raises(ConfigFault, match="cannot be read"):
        load(tmp_path / "none.toml")


class Clock:
    """Time for a stage: a story passes in a blink."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def play(stage, clock, seconds, each=lambda: None):
    """Tick through the story; gives (story time, beat) of all that happened."""
    told = []
    if stage.zero is None:
        stage.begin()
    for _ in range(round(seconds / TICK)):
        clock.now += TICK
        told += [(round(stage.now, 1), beat) for beat in stage.tick()]
        each()
    return told


def test_beats_happen_at_their_time_or_after_an_output(tmp_path):
    clock = Clock()
    stage = Stage(load(written(tmp_path, GOOD)), clock)
    play(stage, clock, 10.0)
    assert stage.states["shaft"].fan is False
    asyncio.run(stage.devices["shaft"].async_setValues(1, 5, 0, [True]))
    assert stage.states["shaft"].siren is True
    told = play(stage, clock, 2.0)
    assert [at for at, _ in told] == pytest.approx([11.0], abs=0.15)
    assert stage.states["shaft"].fan is True


def test_the_truth_is_what_the_plant_is_not_what_its_instrument_says(tmp_path):
    """A frozen CO sensor is a hazard of its own; a frozen methane sensor hides nothing from the truth."""
    clock = Clock()
    text = GOOD.replace('channel = "co"\n[[hazard]]', 'channel = "ch4_t1"\n[[hazard]]')
    stage = Stage(load(written(tmp_path, text)), clock)
    play(stage, clock, 18.0)
    episodes = {e.hazard.name: e for e in stage.truth()}
    assert "frozen" not in episodes  # it is another channel that hangs
    assert episodes["gas"].began - stage.zero > 8.0
    assert stage.devices["shaft"].shown()["ch4_t1"] < 0.7
    assert stage.scenario.plants["shaft"].truth(stage.states["shaft"])["ch4_t1"] > 1.0


def test_the_shipped_story_makes_each_of_its_hazards_true_and_ends_them():
    """With an agent that pulls its relays at the limits, as the rules of the site say."""
    clock = Clock()
    scenario = load(STORY)
    stage = Stage(scenario, clock)
    heading = stage.devices["heading"]

    def relays():
        state = stage.states["heading"]
        fan = state.fan and state.air_speed >= 0.25
        for coil, on in ((0, state.ch4_t1 >= 1.0), (1, not fan or state.ch4_t1 >= (1.0 if state.power_cut else 1.5))):
            if bool(heading.values[("siren", "power_cut")[coil]]) != on:
                asyncio.run(heading.async_setValues(1, 5, coil, [on]))

    told = play(stage, clock, scenario.scene.seconds, relays)
    assert len(told) == len(scenario.beats)
    episodes = [e for e in stage.truth() if e.began is not None]
    names = [e.hazard.name for e in episodes]
    assert len(set(names)) >= 20
    assert {n for n in names if names.count(n) > 1} == {"methane at the face, 1.0 %"}  # the fan stood; then a pocket
    assert {h.name for h in scenario.hazards} - set(names) == {
        "methane in the return, 1.0 %",
        "methane in the return, 1.0 % (cut)",
    }
    end = stage.zero + scenario.scene.seconds
    standing = {e.hazard.rule.partition(".")[0] for e in episodes if e.left is None}
    assert standing == {"moves", "dam"}  # what the dam moved it does not move back
    assert all(e.left < end for e in episodes if e.left is not None)
    cut = next(at for at, beat in told if isinstance(beat, CutUplink))
    behind = [e for e in episodes if cut < e.began - stage.zero < cut + 15.0]
    assert behind  # a hazard begins while nobody hears


def test_a_stage_says_where_it_cannot_listen(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        stage = Stage(load(written(tmp_path, GOOD.replace("tcp://127.0.0.1:0", url))))
        with pytest.raises(LineLost, match="something else there"):
            asyncio.run(stage.start())


def test_the_demo_puts_its_ports_into_the_site_file():
    async def placed():
        stage = Stage(load(STORY))
        await stage.start(anywhere=True)
        try:
            return _placed(SITE, stage.scenario, stage, "mqtt://127.0.0.1:9", "demo-1"), dict(stage.lines)
        finally:
            await stage.stop()

    text, lines = asyncio.run(placed())
    assert "127.0.0.1:5020" not in text
    assert "vedette-field-bus" not in text.replace("#", "\n").split("[site]")[1]
    assert f'"{lines["plant-net"].url}"' in text
    assert f'"rtu://{lines["field-bus"].path}"' in text


def test_only_plain_brokers_can_stand_behind_the_cable():
    assert _address("mqtt://host") == ("host", 1883)
    assert _address("host:1884") == ("host", 1884)
    with pytest.raises(ConfigFault):
        _address("mqtts://host")


def test_every_hazard_of_the_story_has_a_rule_in_the_site_file():
    """Else the demo would miss it by configuration."""
    places = config.load(SITE).core().places
    assert {(hazard.rule, hazard.channel) for hazard in load(STORY).hazards} <= places.keys()
    assert (SHIPPED / "devices").is_dir()
