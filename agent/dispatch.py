"""`vedette command` and `vedette key`: how a person signs a command, has another sign it too, and sends it.

    vedette key new anna.pem                       a private key; its public one is printed, for [[issuer]]
    vedette command ack alarm=ID --as anna --key anna.pem --broker mqtts://broker --to north-mine/gw1
    vedette command configure toml=@site.toml ...  @FILE: what is in the file
    vedette command shelve ... --print > envelope  for somebody else, who says
    vedette command sign envelope --as bo --key bo.pem > both
    vedette command send both --broker ...         and it is the node that decides

Without `--broker` it goes to the daemon of this machine. Beside the key lies its counter, `anna.pem.counter`: it grows
with each command, and is never below the clock, in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import durable, keys
from .commands import FINAL, SCHEMA, VERBS, AnyDeed, Command, Envelope, opened, signed, written
from .core.errors import LineLost, Refused, WorldFault
from .said import said_to
from .terminal import Stop, answer

if TYPE_CHECKING:
    from .wire import Broker, Wire

LIFE = 300.0  # s from signing to expiry, if not said
WAIT = 60.0  # s for the end of a command, if not said
PAUSE = 0.5  # s between two questions to this machine's daemon
LOOK = 3.0  # s for what the broker keeps, and for this machine's daemon


def add(verb: Callable[..., Any]) -> None:
    """The verbs' arguments."""
    key = verb("key", _key, "a key to sign commands with: new FILE, or show FILE")
    key.add_argument("deed", choices=("new", "show"), help="make one, or show the public one")
    key.add_argument("file", type=Path, metavar="FILE", help="the private key, PEM")
    about = "sign a command and send it; or sign, or send, one that somebody else made"
    sub = verb("command", _command, about, site=True)
    sub.add_argument("deed", choices=(*VERBS, "sign", "send"), help="what is to be done")
    sub.add_argument("words", nargs="*", metavar="NAME=VALUE", help="what the deed needs; @FILE reads a file")
    sub.add_argument("--as", dest="as_", metavar="NAME", default="", help="who signs, as [[issuer]] calls you")
    sub.add_argument("--key", type=Path, metavar="FILE", help="your private key")
    sub.add_argument("--to", metavar="SITE/NODE", default="", help="whom it is for; else as --config says")
    sub.add_argument("--broker", metavar="URL", help="mqtt://host or mqtts://host; else this machine's daemon")
    sub.add_argument("--user", default="", help="at the broker")
    sub.add_argument("--password", default="", metavar="WHERE", help="env:NAME or file:/path")
    sub.add_argument("--ca", default="", metavar="FILE", help="authority of the broker's certificate")
    sub.add_argument("--prefix", default="vedette", help="first level of the topics (vedette)")
    sub.add_argument("--if", dest="config_", metavar="HASH", default="", help="only in this configuration")
    sub.add_argument("--challenge", default="", help="that the node gave, for its clock is not trusted")
    sub.add_argument("--life", type=float, default=LIFE, metavar="S", help=f"s until it expires ({LIFE:g})")
    sub.add_argument("--wait", type=float, default=WAIT, metavar="S", help=f"s for its end ({WAIT:g})")
    sub.add_argument("--print", action="store_true", help="print the envelope and send nothing")


# -- keys ---------------------------------------------------------------------------------------------


def _key(args: argparse.Namespace) -> int:
    try:
        key = keys.new(args.file) if args.deed == "new" else keys.private(args.file)
    except FileExistsError:
        raise WorldFault(said_to(args)("key is there", file=args.file)) from None
    except OSError as error:
        raise WorldFault(f"{args.file}: {error.strerror}") from None
    except ValueError as error:
        raise WorldFault(str(error)) from None
    facts = {"key": keys.text(key), "fingerprint": keys.fingerprint(key)}
    return answer(args, facts, said_to(args)("key is", **facts))


# -- making -------------------------------------------------------------------------------------------


def deed(verb: str, words: Sequence[str]) -> AnyDeed:
    """What `NAME=VALUE` words ask for. Raises `ValueError`, in words."""
    fields: dict[str, Any] = {"verb": verb}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"`{word}`: write NAME=VALUE")
        if value.startswith("@"):
            try:
                value = Path(value[1:]).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{word}: {error}") from None
        fields[name] = value
    try:
        return msgspec.convert(fields, type=AnyDeed, strict=False)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise ValueError(f"{verb}: {error}") from None


def count(path: Path, now: float) -> int:
    """The next counter of a key, noted beside it. Raises `OSError`."""
    note = path.with_name(f"{path.name}.counter")
    try:
        last = int(note.read_text())
    except (FileNotFoundError, ValueError):
        last = 0
    number = max(last + 1, round(1000 * now))
    durable.replace(note, f"{number}\n".encode())
    return number


class Order:
    """A command that its issuer can sign anew; or one as it came."""

    def __init__(self, envelope: bytes, again: Callable[[str], bytes] | None) -> None:
        self.envelope, self._again = envelope, again
        self.command = msgspec.json.decode(opened(envelope).text, type=Command)

    def challenged(self, challenge: str) -> bool:
        """Sign it again with a challenge. Whether that is possible, and new."""
        if self._again is None or self.command.challenge:
            return False
        self.__init__(self._again(challenge), self._again)  # type: ignore[misc]
        return True


def _made(args: argparse.Namespace, do: AnyDeed, device: str, config: str) -> Order:
    key = keys.private(args.key)

    def make(challenge: str) -> bytes:
        now = time.time()
        command = Command(
            schema=SCHEMA,
            device=device,
            issuer=args.as_,
            counter=count(args.key, now),
            issued=round(1000 * now),
            expires=round(1000 * (now + args.life)),
            do=do,
            config=config,
            challenge=challenge,
        )
        return signed(written(command), {args.as_: key})

    return Order(make(args.challenge), make)


def _command(args: argparse.Namespace) -> int:
    try:
        return _sent(args)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Stop(os.EX_USAGE, str(error)) from None
    except OSError as error:
        raise WorldFault(f"{error.filename}: {error.strerror}") from None


def _sent(args: argparse.Namespace) -> int:
    if args.deed in ("sign", "send"):
        if len(args.words) != 1:
            raise ValueError(said_to(args)("which envelope", deed=args.deed))
        envelope = sys.stdin.buffer.read() if args.words[0] == "-" else Path(args.words[0]).read_bytes()
        order = Order(envelope.strip(), None)
        if args.deed == "sign":
            order = Order(_cosigned(args, order.envelope), None)
            if not args.broker:
                args.print = True
        if args.print:
            print(order.envelope.decode())
            return 0
        return _told(args, order, _ways(args)(order))
    if not args.as_ or args.key is None:
        raise ValueError(said_to(args)("who signs"))
    do = deed(args.deed, args.words)
    device, config = args.to, args.config_
    if not device or (args.deed == "configure" and not config):
        found_device, found_config = _asked(args)
        device, config = device or found_device, config or (found_config if args.deed == "configure" else "")
    order = _made(args, do, device, config)
    if args.print:
        print(order.envelope.decode())
        return 0
    return _told(args, order, _ways(args)(order))


def _cosigned(args: argparse.Namespace, envelope: bytes) -> bytes:
    """The envelope with one more signature; what is signed is shown first, on standard error."""
    if not args.as_ or args.key is None:
        raise ValueError(said_to(args)("who signs"))
    one = opened(envelope)
    print(one.text, file=sys.stderr)
    mine = opened(signed(one.text, {args.as_: keys.private(args.key)}))
    return msgspec.json.encode(Envelope(one.text, {**one.signatures, **mine.signatures}))


# -- sending ------------------------------------------------------------------------------------------

Way = Callable[[Order], Iterator[dict[str, Any]]]  # each word of what becomes of it


def _told(args: argparse.Namespace, order: Order, words: Iterator[dict[str, Any]]) -> int:
    last, t = dict[str, Any](), said_to(args)
    for last in words:
        if not args.json:
            text = t("command says", text=t.answer(last["text"])) if last.get("text") else ""
            reason = t("command because", reason=last["reason"]) if last.get("reason") else ""
            print(f"{t('c-' + last['state'])}{reason}{text}", flush=True)
            if last.get("challenge") and last["state"] in FINAL:  # nobody here can sign it for all of them
                print(t("command anew", challenge=last["challenge"]), flush=True)
    if args.json:
        answer(args, last or {"state": "unanswered", "id": order.command.id}, "")
    if not last or last["state"] not in FINAL:
        raise LineLost(t("no end", id=order.command.id, seconds=f"{args.wait:g}"))
    return 0 if last["state"] == "successful" else 1


def _ways(args: argparse.Namespace) -> Way:
    return (lambda order: _by_broker(args, order)) if args.broker else (lambda order: _by_socket(args, order))


def _asked(args: argparse.Namespace) -> tuple[str, str]:
    """Whom this machine's site file means, or the configuration that a node says it has."""
    if args.broker:
        if not args.to:
            raise ValueError(said_to(args)("whom for"))
        with _line(args, args.to, "look") as line:
            return args.to, line.config()
    from . import config, control

    site = config.load(args.config)
    device = f"{site.site.name}/{site.site.node}"
    if args.print and args.deed != "configure":
        return device, ""
    return device, str(control.ask(site.store.path, {"verb": "status"}, LOOK).get("config", ""))


def _by_socket(args: argparse.Namespace, order: Order) -> Iterator[dict[str, Any]]:
    from . import config, control

    state, end = config.load(args.config).store.path, time.monotonic() + args.wait
    while True:
        reply = control.ask(state, {"verb": "command", "envelope": order.envelope.decode()}, args.wait)
        if "error" in reply:
            raise LineLost(reply["error"])
        words: list[dict[str, Any]] = reply["outcomes"]
        again = bool(words) and words[-1].get("challenge")
        if not again or not order.challenged(again):
            break
    yield from words
    last = words[-1]["state"] if words else ""
    while last not in FINAL and time.monotonic() < end:
        time.sleep(PAUSE)
        try:
            word = control.ask(state, {"verb": "outcome", "id": order.command.id}, LOOK)
        except LineLost:  # a new configuration: it starts anew
            continue
        if "error" not in word and word["state"] in FINAL:
            last = word["state"]
            yield word


def _by_broker(args: argparse.Namespace, order: Order) -> Iterator[dict[str, Any]]:
    end = time.monotonic() + args.wait
    with _line(args, order.command.device, order.command.id) as line:
        while True:
            line.send(order.command.id, order.envelope)
            state = ""
            while state not in FINAL:
                word = line.word(order.command.id, end - time.monotonic())
                if word is None:
                    return
                if word.get("challenge") and order.challenged(word["challenge"]):
                    break
                state = word["state"]
                yield word
            else:
                return


@contextmanager
def _line(args: argparse.Namespace, device: str, name: str) -> Iterator[Line]:
    from .wire import Broker

    settings = Broker(name="command", url=args.broker, user=args.user, password=args.password, ca=args.ca)
    line = Line(settings, f"{args.prefix}/{device}", f"vedette-command-{name}-{os.getpid()}")
    try:
        line.open()
        yield line
    finally:
        line.close()


class Line:
    """A connection to a broker for as long as a command takes."""

    def __init__(self, settings: Broker, root: str, id: str) -> None:
        self.settings, self.root, self.id = settings, root, id
        self._loop = asyncio.new_event_loop()
        self._wire: Wire | None = None

    def open(self) -> None:
        """Connect. Raises `LineLost` or `Refused`."""
        self._loop.run_until_complete(self._open())

    async def _open(self) -> None:
        from .wire import V5, V311, Unsupported, Wire

        for version in (V5, V311):
            self._wire = Wire(self.settings, version, self.id, None, asyncio.Event())
            try:
                await self._wire.open()
                return
            except Unsupported:
                if version == V311:
                    raise

    def config(self) -> str:
        """The configuration that the node says it has. Raises `LineLost` where it says nothing."""
        wire = self._there()
        wire.listen(f"{self.root}/state")
        self._loop.run_until_complete(self._until(lambda: bool(wire.retained), LOOK))
        for payload in wire.retained.values():
            config = msgspec.json.decode(payload, type=dict[str, Any]).get("config", "")
            if config:
                return str(config)
        raise LineLost(f"{self.root}/state does not say which configuration is in force; give --if HASH")

    def send(self, id: str, envelope: bytes) -> None:
        from .wire import Message

        wire = self._there()
        wire.hear(f"{self.root}/cmd/{id}/ack", 1 << 20)
        wire.publish(Message(f"{self.root}/cmd/{id}", envelope, False))

    def word(self, id: str, seconds: float) -> dict[str, Any] | None:
        """The next word of what becomes of it; None where none comes."""
        wire = self._there()
        if not self._loop.run_until_complete(self._until(lambda: bool(wire.said), seconds)):
            return None
        told = msgspec.json.decode(wire.said.popleft().payload, type=dict[str, Any])
        return {"text": told.get("text", ""), **told["facts"]}

    async def _until(self, enough: Callable[[], bool], seconds: float) -> bool:
        wire, end = self._there(), time.monotonic() + seconds
        while not enough():
            if wire.lost:
                raise LineLost(f"{wire.where}: {wire.lost}")
            if time.monotonic() > end:
                return False
            try:
                async with asyncio.timeout(0.2):
                    await wire.wake.wait()
            except TimeoutError:
                wire.tend()
            wire.wake.clear()
            wire.pump()
            while wire.acks:
                _, code = wire.acks.popleft()
                if code >= 0x80:
                    raise Refused(f"{wire.where}: the broker does not let you command {self.root} (0x{code:02x})", code)
        return True

    def _there(self) -> Wire:
        assert self._wire is not None
        return self._wire

    def close(self) -> None:
        if self._wire is not None:
            self._loop.run_until_complete(self._left(self._wire))
        self._loop.close()

    @staticmethod
    async def _left(wire: Wire) -> None:
        wire.close(politely=True)
