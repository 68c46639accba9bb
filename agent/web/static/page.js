// What a page does by itself: it takes over what changed, says when it is old, and lets one draw across a trend.
// Everything else works without it. No foreign code, nothing made of text but what the server escaped.

const body = document.body;
const [LIVE, CONNECTING, OLD] = (body.dataset.words || "||").split("|");
const STALE = 5000; // ms without a word, after which what is shown is old
const HELD = 2000; // ms that a press may hold back what is new; nothing on a page may stand still for long
const word = document.getElementById("link-word");
const lamp = document.getElementById("link");
const old = document.getElementById("old");
const clock = document.getElementById("clock");

let source = null;
let heard = performance.now();
let again = 0;

const waiting = []; // parts that came while a button was pressed: one that is replaced under the finger is not clicked
let pressed = -Infinity;
addEventListener("pointerdown", () => (pressed = performance.now()), true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (pressed = -Infinity), true);

function take(parts) {
  waiting.push(parts);
  if (performance.now() - pressed < HELD) return;
  for (const [name, html] of waiting.splice(0).flatMap(Object.entries)) {
    const element = document.getElementById(name);
    if (!element || element.contains(typing())) continue;
    const focused = element.contains(document.activeElement) ? named(document.activeElement) : "";
    element.innerHTML = html;
    if (focused) element.querySelector(focused)?.focus({ preventScroll: true });
  }
}

// How a button or a link is found again in the part that comes in place of its own.
function named(one) {
  if (one.id) return `#${CSS.escape(one.id)}`;
  return one.matches("a[href]") ? `a[href="${CSS.escape(one.getAttribute("href"))}"]` : "";
}

// A field that somebody writes into is never taken away.
function typing() {
  const one = document.activeElement;
  return one && /^(INPUT|SELECT|TEXTAREA|VIDEO)$/.test(one.tagName) ? one : null;
}

function state(on) {
  lamp?.classList.toggle("on", on);
  lamp?.classList.toggle("lost", !on);
  if (word) word.textContent = on ? LIVE : CONNECTING;
}

function listen() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("/live?page=" + encodeURIComponent(body.dataset.live));
  source.onmessage = (event) => {
    const told = JSON.parse(event.data);
    const other = told.stamp !== body.dataset.stamp; // the program is another one now
    if (other || told.gone !== ("gone" in body.dataset)) { // an alarm that is over; or is back
      source.close(); // the next word would begin the loading anew
      return location.reload();
    }
    heard = performance.now();
    state(true);
    take(told.parts);
    if (clock) clock.textContent = told.at;
  };
  source.onerror = () => {
    state(false);
    if (source.readyState === EventSource.CLOSED) again = setTimeout(listen, 3000);
  };
}

function look() {
  const quiet = performance.now() - heard;
  const stale = quiet > STALE;
  body.classList.toggle("stale", stale);
  if (old) {
    old.hidden = !stale;
    if (stale) old.textContent = OLD.replace("{s}", Math.round(quiet / 1000));
  }
  if (quiet > 15000 && source?.readyState === EventSource.OPEN) listen(); // the line is dead and does not say so
  for (const image of document.querySelectorAll("img[data-still]")) fresh(image);
}

function fresh(image) {
  if (image.complete && performance.now() - heard < STALE) image.src = `${image.dataset.still}?t=${Date.now()}`;
}

if (body.dataset.live) {
  listen();
  setInterval(look, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) listen();
  });
}

// Whoever acts far down a list comes back to where he was: the address says how far from the window's top the page began.
const heading = document.querySelector("h1");
const below = () => Math.round(heading.getBoundingClientRect().top);
document.addEventListener("submit", ({ target }) => {
  if (target.method !== "post" || !scrollY) return;
  for (const field of target.querySelectorAll("[name=back]")) field.value = `${body.dataset.live}#y${below()}`;
});
const place = /^#y(-?\d+)$/.exec(location.hash);
if (place) {
  history.replaceState(null, "", location.pathname + location.search);
  scrollBy({ top: below() - place[1], behavior: "instant" });
}

document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());

// -- a trend is looked at more closely by drawing across it ---------------------------------------

for (const trend of document.querySelectorAll("[data-zoom]")) {
  let from = null;
  const shown = () => [...trend.querySelectorAll(".chart")].find((chart) => chart.getBoundingClientRect().width);
  const place = (event) => {
    const chart = shown();
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * chart.dataset.wide;
    return Math.min(chart.dataset.right, Math.max(chart.dataset.left, at));
  };
  const time = (at) => {
    const { left, right, begin, end } = shown().dataset;
    return +begin + ((at - left) / (right - left)) * (end - begin);
  };
  trend.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".chart") && event.button === 0) from = place(event);
  });
  trend.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const drawn = shown().querySelector(".drawn");
    const to = place(event);
    drawn.removeAttribute("hidden");
    drawn.setAttribute("x", Math.min(from, to));
    drawn.setAttribute("width", Math.abs(to - from));
  });
  addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [a, b] = [time(from), time(place(event))].sort((x, y) => x - y);
    from = null;
    shown().querySelector(".drawn")?.setAttribute("hidden", "");
    if (b - a >= 2) location.href = `${trend.dataset.zoom}?begin=${a.toFixed(1)}&end=${b.toFixed(1)}#trend`;
  });
}
