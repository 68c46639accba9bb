"""Addresses: what is asked for, who may, and what goes out with each answer. The rest is `pages.py` and its neighbours.

To look needs no name. To act needs a session, its token in the form, a browser that says the form is ours, and a host
name that is ours: another site cannot act with somebody's cookie, nor read this page under a name of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from .. import commission
from ..core.ports import Event
from ..core.words import LANGUAGES, Language
from ..hand import Hand
from ..supervise import described
from ..window import Web
from . import files, frame, metrics, pages, people, records
from .budget import Budget, metered
from .glance import Desk
from .markup import Html, Sheet, tag
from .pages import Ask, Page, View, link
from .people import Session, Sessions, Tries
from .stream import Streams
from .texts import Words

COOKIE, SECURE_COOKIE = "vedette", "__Host-vedette"
BODY = 16 * 1024  # bytes of a form
FORM = 10.0  # s that it may take to come
QUERY = 1024  # bytes of an address behind the question mark
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
FOREVER = "public, max-age=31536000, immutable"
TOLD = 3600.0  # s between two words on the same mistake of ours
PATIENCE = 2.0  # s for a look at who may act
SCRAPES = 5.0  # s between two that are given although there is no time
ACTS = ("ack", "shelve", "take-out", "restore", "reset", "demand", "withdraw", "protect", "release")


def parted(address: str) -> SplitResult:
    """The parts of an address that somebody sent; of what is none, none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class Door:
    """What all requests share."""

    def __init__(self, desk: Desk, web: Web) -> None:
        self.desk, self.web = desk, web
        self.sessions, self.tries, self.streams = Sessions(), Tries(), Streams(web.streams, frame.STAMPS["page.js"])
        self.hand = Hand("web")  # for what blocks: passwords, files
        self.hosts = {"localhost", socket.gethostname().casefold(), *(name.casefold() for name in web.hosts)}
        self.hosts |= {f"{socket.gethostname().casefold()}.local"}
        self.closing = asyncio.Event()
        self.files = 0  # on their way
        self.budget = Budget()
        self._scraped = float("-inf")  # when the metrics were given although there was no time
        self.requests: dict[int, int] = {}  # status -> how many
        self._told: dict[str, float] = {}
        self._keys: dict[str, bytes] = {}

    # -- who asks -----------------------------------------------------------------------------------

    @property
    def cookie(self) -> str:
        return SECURE_COOKIE if self.web.certificate else COOKIE

    def session(self, request: Request) -> Session | None:
        return self.sessions.of(request.cookies.get(self.cookie, ""), self.desk.clock.now().mono)

    def language(self, request: Request) -> Language:
        """As the address says, else the cookie, else the browser, else the site."""
        for wish in (request.query_params.get("lang", ""), request.cookies.get("lang", "")):
            if wish in LANGUAGES:
                return wish
        for part in request.headers.get("accept-language", "").split(","):
            code = part.partition(";")[0].strip()[:2].lower()
            if code in LANGUAGES:
                return code
        return self.web.language or self.desk.config.site.language

    def is_ours(self, host: str) -> bool:
        """Whether a browser that asks for this host name asks us: an address, or a name of ours.

        Any other name may be made to point here by whoever owns it, and its page would read ours.
        """
        name = parted(f"//{host}").hostname or ""
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return name.casefold() in self.hosts
        return True

    def is_same(self, request: Request) -> bool:
        """Whether a form was sent by a page of ours, as far as the browser says."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = request.headers.get("origin")
        return origin is None or parted(origin).netloc == request.headers.get("host", "")

    def ask(self, t: Words, query: Mapping[str, str], may: bool, of: str) -> Ask:
        """What a page is told of whoever wants to see it."""
        pictures = may or self.web.pictures == "all"
        return Ask(self.desk, t, query, may, Sheet(), self.hand.do, pictures, of)

    def is_urgent(self, scope: Any) -> bool:
        """What is never refused for want of time: what people do, whether the daemon lives, and now and then the
        metrics: they are how somebody far away sees what is going on."""
        now = self.desk.clock.now().mono
        if scope["path"] == "/metrics" and now - self._scraped >= SCRAPES:
            self._scraped = now
            return True
        path = scope["path"]
        is_plain = path in ("/healthz", "/readyz", "/login", "/alarms") or path.startswith("/alarm/")
        return scope["method"] == "POST" or is_plain

    async def look(self) -> None:
        """End the sessions of whoever was taken out of the file meanwhile."""
        if len(self.sessions):
            try:
                async with asyncio.timeout(PATIENCE):
                    self.sessions.keep_of(await self.hand.do(people.read, self.desk.config.store.path))
            except (TimeoutError, ValueError):
                pass  # a slow disk; or a broken file: who logs in next is told

    # -- words to the agent -------------------------------------------------------------------------

    def tell(self, kind: str, text: str, **facts: Any) -> None:
        self.desk.tell(Event(kind, "web", self.desk.clock.now(), text, facts))

    def broke(self, error: Exception) -> None:
        """A mistake of ours costs one answer. The same one is told once an hour."""
        text, place = described(error)
        now = self.desk.clock.now().mono
        if now - self._told.get(place, -TOLD) >= TOLD:
            if len(self._told) > 100:
                self._told.clear()
            self._told[place] = now
            self.tell("crashed", f"in an answer of the page: {text} {place}")


# -- pages --------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """What is at an address."""

    name: str  # among the pages
    view: View
    alive: bool = True  # it changes by itself
    of: str = ""  # what the address names


PLACES: dict[str, Place] = {
    "/": Place("site", pages.site),
    "/alarms": Place("alarms", pages.alarms),
    "/alarm/{of}": Place("alarms", pages.alarm),
    "/channels": Place("channels", pages.channels),
    "/channel/{of:path}": Place("channels", pages.channel),
    "/point/{of:path}": Place("channels", pages.point, alive=False),
    "/history": Place("history", records.history, alive=False),
    "/history/{of}": Place("history", records.story, alive=False),
    "/lines": Place("lines", records.lines),
    "/uplinks": Place("uplinks", records.uplinks),
    "/cameras": Place("cameras", records.cameras),
    "/evidence": Place("evidence", records.shelf, alive=False),
    "/evidence/{of}": Place("evidence", records.piece, alive=False),
    "/commission": Place("commission", records.commissioning),
    "/commission/{of:path}": Place("commission", records.test),
    "/commission-report": Place("commission", records.report, alive=False),
    "/system": Place("system", records.system),
}


def match(path: str) -> Place | None:
    """The page at an address."""
    if "{" not in path and (exact := PLACES.get(path)) is not None:
        return exact
    for pattern, place in PLACES.items():
        base, brace, _ = pattern.partition("{")
        rest = path.removeprefix(base)
        if brace and path.startswith(base) and rest and (":path" in pattern or "/" not in rest):
            return place._replace(of=rest)
    return None


async def show(door: Door, request: Request) -> Response:
    """A page, whole."""
    found = match(request.scope["path"])
    if found is None:
        raise HTTPException(404)
    session, t = door.session(request), Words(door.language(request))
    ask = door.ask(t, query_of(request), session is not None, found.of)
    page = await seen(found, ask)
    said = ""
    if session is not None and session.said:
        said = session.said
        door.sessions.say(request.cookies.get(door.cookie, ""), "")
    here = address(request)
    person, token = (session.name, session.token) if session else ("", "")
    text = frame.whole(ask, page, found.name, here, person, token, said)
    return html(text, page.status)


async def seen(place: Place, ask: Ask) -> Page:
    """What is at a place; where it changes by itself, the sheet says whether what it is about is still there."""
    page = await place.view(ask)
    ask.sheet.gone = place.alive and page.status != 200
    return page


def html(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="text/html")


def query_of(request: Request) -> dict[str, str]:
    return {k: v for k, v in request.query_params.items() if k != "lang"}


def address(request: Request) -> str:
    """Path and query, without the language."""
    query = "&".join(f"{quote(k)}={quote(v)}" for k, v in query_of(request).items())
    return quote(request.scope["path"]) + (f"?{query}" if query else "")


async def live(door: Door, request: Request) -> Response:
    """What changes on the page at `?page=`."""
    wanted = parted(request.query_params.get("page", "/"))
    found = match(unquote(wanted.path))
    if found is None:
        raise HTTPException(404)
    if door.streams.is_full:
        return PlainTextResponse("too many pages are live\n", 503, headers={"Retry-After": "5"})
    t, may = Words(door.language(request)), door.session(request) is not None
    query = dict(parse_qsl(wanted.query, max_num_fields=20))

    async def make() -> Sheet:
        ask = door.ask(t, query, may, found.of)
        pages.live_strip(ask)
        if found.alive:
            await seen(found, ask)
        return ask.sheet

    return Events(door, (wanted.path, wanted.query, t.language, may), make)


class Events(Response):
    """A stream of server-sent events."""

    def __init__(self, door: Door, key: tuple[Any, ...], make: Callable[[], Awaitable[Sheet]]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self.door, self.key, self.make = door, key, make

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.Event()

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async def close() -> None:
            await self.door.closing.wait()
            gone.set()

        async def put(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        watching = [asyncio.create_task(listen()), asyncio.create_task(close())]
        try:
            await put(b"retry: 2000\n\n")
            await self.door.streams.follow(self.key, self.make, put, gone, self.door.desk.clock.now)
        finally:
            for task in watching:
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


# -- acts ---------------------------------------------------------------------------------------------


async def form_of(request: Request) -> Mapping[str, str]:
    """What a form says. Raises `HTTPException` where it is too large, too slow, or none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    text = bytearray()
    try:
        async with asyncio.timeout(FORM):
            async for chunk in request.stream():
                text += chunk
                if len(text) > BODY:
                    raise HTTPException(413)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408) from None
    try:
        return dict(parse_qsl(bytes(text).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=40))
    except ValueError:
        raise HTTPException(400) from None


async def acting(door: Door, request: Request) -> tuple[Session, Mapping[str, str]]:
    """Who acts, and what the form says. Raises `HTTPException` 403 for anybody else."""
    if not door.is_same(request):
        raise HTTPException(403)
    session = door.session(request)
    if session is None:
        raise HTTPException(403)
    form = await form_of(request)
    if not people.same(form.get("token", ""), session.token):
        raise HTTPException(403)
    return session, form


def back(form: Mapping[str, str]) -> str:
    """Where the form came from: a page of ours, nothing else."""
    to = form.get("back", "/")
    parts = parted(to)
    known = not parts.scheme and not parts.netloc and to.startswith("/") and "\\" not in to
    return to if known and match(unquote(parts.path)) else "/"


async def act(door: Door, request: Request) -> Response:
    """A person does something to an alarm or a point: the same request as through the Unix socket, with the name."""
    session, form = await acting(door, request)
    t = Words(door.language(request))
    verb, _, target = form.get("do", "").partition(":")
    if verb not in ACTS:
        raise HTTPException(400)
    try:
        hours = min(24.0, max(0.0, float(form.get("hours", "0") or 0)))
    except ValueError:
        raise HTTPException(400) from None
    asked: dict[str, Any] = {"verb": verb, "by": session.name, "point": target, "id": target}
    if verb in ("protect", "release"):
        asked |= {"verb": "evidence", "protect": verb == "protect"}
    asked |= {"reason": form.get("reason", "")[:200].strip(), "seconds": 3600.0 * hours}
    reply = await door.desk.answer(asked)
    what = f"{t('acknowledge' if verb == 'ack' else verb)}, {target}"
    word = t("refused", why=t.answer(reply["error"])) if "error" in reply else t("done", what=what)
    door.sessions.say(request.cookies.get(door.cookie, ""), word)
    return RedirectResponse(back(form), 303)


# -- commissioning ------------------------------------------------------------------------------------


async def compare(door: Door, request: Request) -> Response:
    """A person holds a reference to a channel."""
    session, form = await acting(door, request)
    t = Words(door.language(request))
    asked = {key: form.get(key, "")[:200] for key in ("channel", "reference", "tolerance", "note")}
    reply = await door.desk.answer({"verb": "commission", "by": session.name, **asked})
    if "error" in reply:
        word = t("refused", why=t.answer(reply["error"]))
    else:
        word = t("done", what=f"{asked['channel']}, {t('within' if reply['within'] else 'beyond')}")
    door.sessions.say(request.cookies.get(door.cookie, ""), word)
    return RedirectResponse(back(form), 303)


async def report_text(door: Door, request: Request) -> Response:
    return Response(await _report(door), media_type="application/json")


async def report_seal(door: Door, request: Request) -> Response:
    seal = await door.hand.do(commission.signed, door.desk.config.store.key_file, await _report(door))
    if seal is None:
        raise HTTPException(404)
    return Response(seal[0], media_type="application/octet-stream")


async def _report(door: Door) -> bytes:
    tests = await door.hand.do(commission.read, Path(door.desk.config.store.path))
    return commission.text(records.report_of(door.ask(Words("en"), {}, False, ""), tests))


# -- logging in ---------------------------------------------------------------------------------------


def may_log_in(door: Door, request: Request) -> bool:
    """Whether a password would not cross a network in the open."""
    client = request.client.host if request.client else ""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(client).is_loopback:
            return True
    return door.web.may_log_in


async def login(door: Door, request: Request) -> Response:
    t = Words(door.language(request))
    if request.method == "POST":
        return await enter(door, request, t)
    return html(await login_page(door, request, t, ""))


async def login_page(door: Door, request: Request, t: Words, why: str) -> str:
    if not may_log_in(door, request):
        return frame.bare(t, t("log in"), tag("p", t("no tls"), class_="said"))
    try:
        known = await door.hand.do(people.read, door.desk.config.store.path)
    except ValueError as error:
        return frame.bare(t, t("log in"), tag("p", t.answer(str(error)), class_="said"))
    if not known:
        return frame.bare(t, t("log in"), tag("p", t("no people"), class_="said"))
    to = request.query_params.get("back", "/")
    return frame.bare(
        t,
        t("log in"),
        tag("p", why, class_="said", role="alert") if why else Html(""),
        tag(
            "form",
            tag("input", type="hidden", name="back", value=to),
            tag("label", t("name"), tag("input", name="name", autocomplete="username", required=True, maxlength=64)),
            tag(
                "label",
                t("password"),
                tag(
                    "input",
                    type="password",
                    name="password",
                    autocomplete="current-password",
                    required=True,
                    maxlength=people.LONGEST,
                ),
            ),
            tag("button", t("log in"), class_="main"),
            method="post",
            action="/login",
            class_="login",
        ),
    )


async def enter(door: Door, request: Request, t: Words) -> Response:
    """Name and password; who guesses waits."""
    if not door.is_same(request) or not may_log_in(door, request):
        raise HTTPException(403)
    form = await form_of(request)
    name, client = people.named(form.get("name", ""))[: people.NAMES], request.client.host if request.client else ""
    whose = (f"name {name}", f"from {client}")
    now = door.desk.clock.now().mono
    if wait := door.tries.wait(now, *whose):
        text = await login_page(door, request, t, t("too often", s=int(wait) + 1))
        return html(text, 429)
    door.tries.wrong(now, *whose)  # many at the same time are no way around it
    try:
        known = await door.hand.do(people.read, door.desk.config.store.path)
    except ValueError:
        return html(await login_page(door, request, t, ""), 503)
    if not await door.hand.do(people.fits, known.get(name), form.get("password", "")):
        if door.tries.wait(now, *whose):  # told once it is a pattern, not for each typing error
            door.tell("login-refused", f"too many wrong passwords for {name or 'nobody'} from {client}", name=name)
        return html(await login_page(door, request, t, t("bad login")), 403)
    door.tries.right(*whose)
    door.sessions.end(request.cookies.get(door.cookie, ""))
    cookie = door.sessions.begin(name, known[name].since, door.desk.clock.now().mono)
    door.tell("login", f"{name} logged in from {client}", name=name)
    response = RedirectResponse(back(form), 303)
    response.set_cookie(
        door.cookie,
        cookie,
        max_age=int(people.SHIFT),
        httponly=True,
        samesite="strict",
        secure=bool(door.web.certificate),
    )
    return response


async def logout(door: Door, request: Request) -> Response:
    session, _ = await acting(door, request)
    door.sessions.end(request.cookies.get(door.cookie, ""))
    door.tell("logout", f"{session.name} logged out", name=session.name)
    response = RedirectResponse("/", 303)
    response.delete_cookie(door.cookie, secure=bool(door.web.certificate), httponly=True, samesite="strict")
    return response


# -- for machines -------------------------------------------------------------------------------------


async def healthz(door: Door, request: Request) -> Response:
    """The loop turns, and somebody answers."""
    return PlainTextResponse("ok\n")


async def readyz(door: Door, request: Request) -> Response:
    """Whether hazards are seen and told: 503 with what is in the way, a line each."""
    why = metrics.not_ready(door.desk)
    return PlainTextResponse("\n".join(why or ["ready"]) + "\n", 503 if why else 200)


async def scraped(door: Door, request: Request) -> Response:
    text = await metrics.text(door.desk, door.streams, door.requests)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def static(door: Door, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in frame.FILES:
        raise HTTPException(404)
    body = await door.hand.do((frame.STATIC / name).read_bytes)
    known = request.path_params["stamp"] == frame.STAMPS[name]
    cache = {"Cache-Control": FOREVER} if known else {}
    return Response(body, media_type=frame.FILES[name], headers=cache)


# -- all together -------------------------------------------------------------------------------------

Endpoint = Callable[[Door, Request], Awaitable[Response]]


def application(door: Door) -> Any:
    """The ASGI application."""

    def route(path: str, endpoint: Endpoint, *methods: str) -> Route:
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(door, request)
            except HTTPException:
                raise
            except Exception as error:  # it costs this answer, and is told
                door.broke(error)
                raise HTTPException(500) from None

        return Route(path, answer, methods=list(methods or ("GET",)))

    routes = [
        *(route(path, show) for path in PLACES),
        route("/live", live),
        route("/act", act, "POST"),
        route("/commission", compare, "POST"),
        route("/commission-report.json", report_text),
        route("/commission-report.sig", report_seal),
        route("/camera/{of:path}/still", files.still),
        route("/evidence/{of}/{name}", files.piece),
        route("/login", login, "GET", "POST"),
        route("/logout", logout, "POST"),
        route("/healthz", healthz),
        route("/readyz", readyz),
        route("/metrics", scraped),
        route("/static/{stamp}/{name}", static),
    ]

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        t = Words(door.language(request))
        word = {404: "not found", 405: "not found", 403: "forbidden", 503: "busy", 500: "broken"}.get(
            status, "forbidden"
        )
        if status == 403 and door.session(request) is None:
            to = back({"back": parted(request.headers.get("referer", "/")).path})
            again = link(f"/login?{urlencode({'back': to})}", t("log in"))
            return html(frame.bare(t, str(status), tag("p", t("logged out"), class_="said"), tag("p", again)), status)
        return html(frame.bare(t, str(status), tag("p", t(word), class_="said")), status)

    app = Starlette(routes=routes, exception_handlers={HTTPException: refused})
    return Guard(app, door)


class Guard:
    """Around everything: foreign hosts and long addresses go, headers are added, mistakes of ours cost one answer."""

    def __init__(self, app: Any, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        status = 0

        async def sent(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.door.requests[status] = self.door.requests.get(status, 0) + 1
                given = {name.lower() for name, _ in message["headers"]}
                more = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in given]
                if request.query_params.get("lang") in LANGUAGES:
                    kept = f"lang={request.query_params['lang']}; Path=/; Max-Age=31536000; SameSite=Lax"
                    more.append((b"set-cookie", kept.encode()))
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        host = request.headers.get("host", "")
        try:
            if not self.door.is_ours(host):
                await PlainTextResponse("unknown host; [web] hosts names more\n", 421)(scope, receive, sent)
            elif len(scope["query_string"]) > QUERY:
                await PlainTextResponse("address too long\n", 414)(scope, receive, sent)
            elif self.door.budget.is_spent() and not self.door.is_urgent(scope):
                await PlainTextResponse("busy\n", 503, {"Retry-After": "1"})(scope, receive, sent)
            else:
                await metered(self.app(scope, receive, sent), self.door.budget.spend)
        except TimeoutError:
            raise  # too slow: the server closes
        except Exception as error:  # in the midst of a live page
            self.door.broke(error)
            raise
