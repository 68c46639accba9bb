"""What `--help` and the manual say of each verb beyond its row in `cli.py`: groups, paragraphs, examples, shapes.

In English; `handbook_zh.py` says the same in Chinese.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import terminal

DESCRIPTION = (
    "Vedette is one daemon on a gateway beside the hazard. It reads gas, water-level and other sensors over "
    "Modbus, and cameras; judges them on the spot by rules with their standards; switches outputs; and delivers "
    "alarms to platforms, through any outage, in order of importance. `vedette run` is the daemon; the other "
    "verbs set it up, ask it, prove what it did, or try it without a site."
)
ANSWERS = (
    "Answers go to the standard output; complaints, warnings and progress to the standard error. With --json the "
    'answer is one JSON document; where it could not be had, {"error": "..."} or {"complaints": ["..."]}. Colour '
    "and progress are for terminals only."
)
ABOUT = "A sentry at the edge: reads hazard sensors and cameras, judges on the spot, delivers alarms."
SUPPLEMENT = "A supplement to certified safety systems, never one of them."
MORE = "`vedette VERB --help` says more, with examples; `vedette man` all of it."

GROUPS: Mapping[str, tuple[str, ...]] = {  # title, verbs
    "see what is": ("status", "alarms", "colours", "queue", "explain", "presence", "doctor"),
    "set up a site": (
        "init", "check", "test", "probe", "schema", "profiles", "hazards", "devices", "drill", "passwd",
    ),
    "run it": ("run", "reload", "key", "command"),
    "prove what was": ("audit", "report", "evidence", "record", "replay", "detect", "watch"),
    "try it without a site": ("demo", "simulate", "models"),
    "this program": ("version", "man", "completion"),
}  # fmt: skip

TEXT: Mapping[str, str] = {  # a paragraph, for --help and the manual
    "run": (
        "Reads the site file, then the sensors, until SIGTERM or SIGINT; a second signal hurries. What was "
        "accepted is never lost. Writes a line for each transition to the standard output, key=value. "
        "systemd/vedette.service runs it with a watchdog; a bad configuration ends it with 78, so that systemd "
        "does not start into it again and again."
    ),
    "check": (
        "Reads the site file and everything that it names, and starts nothing. Every fault is told at once, with "
        "its line. Without faults: how each bus is wired, which rule watches what by which standard, who may "
        "command."
    ),
    "test": (
        "Asks every device once, itself: stop the daemon first where a line can have one master only. Exit 0 only"
        " if every channel is good."
    ),
    "probe": ("No site file is needed. KIND is holding, input, coil or discrete; counted from 0, as on the wire."),
    "status": (
        "On a terminal a picture that is drawn anew each second: alarms, channels worst first, devices with round"
        " trip and errors, uplinks with the age of what waits, journal, clock, disk, and the agent itself. On a "
        "pipe, with --once or with --json it is printed once. It asks the daemon's socket, and needs no local "
        "page. Where no agent runs it says so, and what the files say: the last alarms and what is still owed; "
        "then it exits with 69."
    ),
    "alarms": (
        "Without a deed: what is open, worst colour first. Whoever acts gives --by; it stands in the journal and "
        "goes to every platform. Nothing red and no interlock can be shelved."
    ),
    "colours": (
        "Colours follow the counts of GB 39496-2020. Down it goes slowly; from orange and red only by a named person."
    ),
    "queue": ("Items of each lane that the platform which is furthest behind has not confirmed."),
    "drill": (
        "Proves each link from the sensor to the coil and the platforms on a copy of the memory. Nothing is "
        "tripped. What came of it is told to all platforms, marked as a drill."
    ),
    "presence": (
        "Where somebody is decides whose account of gas and dust grows. Ids, never names; platforms hear nothing."
    ),
    "explain": ("Reads the journal; the daemon need not run."),
    "audit": (
        "`verify` names the first record that is not as it was written, and holds the journal against heads that "
        "somebody else noted; exit 1 where anything does not fit. `key` prints the public key. `export` writes a "
        "bundle with a program that checks it and judges the alarm again. The daemon need not run."
    ),
    "report": (
        "A draft: a person fills in what is blank, and sends it. Each version stays, and the journal has its hash."
    ),
    "evidence": (
        "Clips and pictures of alarms. `protect` and `release` ask the running daemon, everything else reads the "
        "disk. `verify` exits with 1 where a file is not as it was, or the journal does not know it."
    ),
    "record": (
        "Watches only: nothing is driven, nobody is told. The folder holds site.toml, frames.jsonl and "
        "alarms.jsonl, and is a test case as it stands. Ends by SIGINT, SIGTERM or --seconds."
    ),
    "replay": (
        "The same frames give the same alarms. Prints each edge as a line of JSON; with --compare it says whether"
        " they are those of alarms.jsonl, and exits with 1 where not."
    ),
    "detect": (
        "The answer is CSV with timestamp, score and alarm; why goes to the standard error. With --json what was "
        "told is JSON, and rows are written only to --out."
    ),
    "passwd": ("Without a name: who may act. The password is asked for twice, never given on the command line."),
    "key": ("Ed25519. The public key goes into [[issuer]] of a site; the private one never leaves whoever signs."),
    "command": (
        "The node decides: who may, whether it is new, whether a second person is needed. A word for each step; "
        "exit 0 only if it was done. `sign` adds a signature to somebody else's envelope, `send` sends one."
    ),
    "simulate": (
        "Plants of a scenario as Modbus servers, a drawn road or driver as a stream or a film, a platform for an "
        "uplink, or a fleet of gateways against one broker. Runs until SIGINT."
    ),
    "demo": (
        "Everything is simulated; ends with a verdict that counts what was missed, false, lost or told twice. "
        "Exit 0 only if nothing was."
    ),
    "completion": (
        "Prints a script for the shell. With another word it prints what a shell offers while somebody types: ids"
        " of open alarms, names of profiles, models and evidence."
    ),
    "man": ("On a terminal the manual is shown by man(1) where there is one; on a pipe it is roff."),
}

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {  # words, what they do
    "run": (("vedette run -c site.toml", "until Ctrl-C"),),
    "check": (
        ("vedette check -c site.toml", "every fault, or the wiring"),
        ("vedette check -c site.toml --json | jq .wiring", "the same for a program"),
    ),
    "test": (("vedette test -c site.toml", "every channel with value, unit and quality"),),
    "probe": (
        ("vedette probe tcp://192.168.1.10:502/1/holding/0x1000:4", "four registers as they are"),
        ("vedette probe rtu:///dev/ttyUSB0/17/holding/0x1F40:2 --as float32:CDAB --baud 9600", "as a number"),
    ),
    "status": (
        ("vedette status", "the cockpit; q leaves"),
        ("vedette status --once --lang zh", "once, in Chinese"),
        ("vedette status --json | jq '.uplinks[] | {name, state}'", "one thing of it"),
    ),
    "alarms": (
        ("vedette alarms", "what is open"),
        ("vedette alarms --ack 000007-5e1f-3 --by Li", "seen"),
        ("vedette alarms --shelve co@heading/co --hours 2 --reason 'calibration, permit 114' --by Li", "for two hours"),
        ("vedette alarms --load", "how many there are, and which come most"),
    ),
    "colours": (("vedette colours", "the tree of items"),),
    "queue": (("vedette queue --json", "what is owed"),),
    "drill": (("vedette drill heading --by Li", "the interlock `heading`"),),
    "presence": (("vedette presence 4711 heading --by gate2", "4711 goes in"), ("vedette presence", "who is where")),
    "explain": (("vedette explain 000007-5e1f-3", "why, and what became of it"),),
    "doctor": (("vedette doctor", "what is wrong here, and what to do"),),
    "init": (("vedette init", "asks, and writes site.toml"),),
    "schema": (("vedette schema > site.schema.json", "for an editor"),),
    "reload": (("vedette reload --by Li", "goes on by the site file as it is now"),),
    "devices": (("vedette devices", "what the site file names"),),
    "audit": (
        ("vedette audit", "is the journal whole?"),
        ("vedette audit --head 1042:9f2c...", "with what a platform noted"),
        ("vedette audit export 000007-5e1f-3 --out /media/usb/incident.zip", "what proves an alarm"),
    ),
    "report": (("vedette report accident 000007-5e1f-3 --by Li --known '2026-05-04 13:07' --out draft.md", "a draft"),),
    "evidence": (
        ("vedette evidence list", "what there is"),
        ("vedette evidence protect 000007-5e1f-3.gate --by Li --reason 'police'", "keep it"),
        ("vedette evidence export 000007-5e1f-3.gate /media/usb", "a copy that was checked"),
    ),
    "record": (("vedette record monday --seconds 3600", "an hour of this site"),),
    "replay": (
        ("vedette replay monday --compare", "the same alarms?"),
        ("vedette replay monday --what-if limit=0.8", "what another limit would have done"),
    ),
    "detect": (("vedette detect pump.csv --out judged.csv --plot", "what is unlike its own past"),),
    "watch": (("vedette watch drive.mp4 --speed 60 --events warnings.csv", "warnings of a drive"),),
    "passwd": (("vedette passwd Li", "Li may act on the page"), ("vedette passwd Li --remove", "no longer")),
    "key": (("vedette key new anna.pem", "prints the line for [[issuer]]"),),
    "command": (
        ("vedette command ack alarm=000007-5e1f-3 --as anna --key anna.pem", "at this machine"),
        (
            "vedette command set-limit rule=gas limit=0.8 --as anna --key anna.pem --broker mqtts://broker "
            "--to north-mine/gw1",
            "from afar",
        ),
    ),
    "hazards": (("vedette hazards hazards.toml", "R, term by term"),),
    "profiles": (
        ("vedette profiles coal", "those of coal mines"),
        ("vedette profiles show coal/ch4/T1", "one in full"),
    ),
    "models": (("vedette models list", "which nets are here"), ("vedette models verify", "whole, and do they run?")),
    "simulate": (
        ("vedette simulate configs/scenarios/demo.toml", "three plants"),
        ("vedette simulate --road list", "stories of the road"),
        ("vedette simulate jt808 --port 7611", "a platform"),
    ),
    "demo": (("vedette demo", "two minutes"),),
    "version": (("vedette version --json", "for a program"),),
    "completion": (
        ("vedette completion bash > ~/.local/share/bash-completion/completions/vedette", "bash"),
        ("vedette completion zsh > ~/.zfunc/_vedette", "zsh, where fpath has ~/.zfunc"),
        ("vedette completion fish > ~/.config/fish/completions/vedette.fish", "fish"),
    ),
    "man": (("vedette man | gzip > /usr/share/man/man1/vedette.1.gz", "install it"),),
}

# What --json answers: the keys of an object, or of each object in a list (*).
SHAPES: Mapping[str, tuple[str, ...]] = {
    verb: tuple(keys.split())
    for verb, keys in {
        "alarms": "* id edge event state rule channel level value limit unit since at text",
        "alarms --load": "in_10_min flood standing stale chattering top top_share",
        "audit": "records first last head faults signed keys met unseen fingerprints whole",
        "audit key": "public fingerprint file",
        "audit --last": "* n checksum record",
        "check": "site node config store wiring rules interlocks uplinks issuers two settable",
        "colours": "* name colour since state id missing counts points unseen items",
        "demo": "passed",
        "detect": "rows channels alarms out",
        "explain": "* id edge event state rule channel level text at",
        "key": "key fingerprint",
        "passwd": "* name since",
        "probe": "* at wire value quality",
        "queue": "boot version config uplinks waiting dropped alarms limits commands journal",
        "record": "folder frames alarms",
        "replay": "* folder alarms",
        "replay --compare": "* folder same edges difference",
        "replay --what-if": "* folder with changes",
        "status": "schema running at site node language version boot config up seen clock_synced clock_back colour "
        "counts items alarms away channels channels_total channels_measured channels_unwell lines uplinks "
        "journal store vitals machine events waiting dropped limits commands hazards faults",
        "test": "channels texts complaints",
        "version": "version",
        "watch": "pictures seconds warnings ms why",
    }.items()
}

EXITS = (
    (0, "done; the answer is yes"),
    (1, "done; the answer is no: something differs, is broken or was not done"),
    (64, "wrong words on the command line"),
    (65, "what was given is not what it should be"),
    (66, "a file that was named is not there"),
    (69, "somebody who is needed does not answer: the daemon, a device, a broker"),
    (74, "the output cannot be written"),
    (78, "the configuration has faults, all of which were told"),
    (130, "ended by Ctrl-C"),
)
FILES = (
    ("site.toml", "the site file, where none is said and one is in this folder"),
    (str(terminal.SYSTEM), "else this one"),
    ("STATE", "[store] path of the site file, `state` beside it where none is said: everything that is kept"),
    ("STATE/control.sock", "where the daemon answers its own user, and root"),
    ("STATE/journal", "the journal of decisions"),
    ("STATE/gateway.key", "the private key that signs it"),
    ("STATE/alarms.db, history.db", "alarms, events and telemetry that are not delivered yet"),
    ("~/.local/share/vedette/models", "nets that were imported or fetched"),
)
ENVIRONMENT = (
    (terminal.SITE, "the site file, where -c names none"),
    ("VEDETTE_MODELS", "folder of this machine's own nets"),
    ("LC_ALL, LC_MESSAGES, LANG", "the language of people, where --lang says none: Chinese for zh; else the site's"),
    ("NO_COLOR", "if it is set to anything, there is no colour"),
    ("COLUMNS", "width of `vedette status` on a pipe (120)"),
    ("MQTT_PASSWORD, ...", "secrets that a site file refers to as env:NAME"),
)
