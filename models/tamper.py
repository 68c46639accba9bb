"""Sensors that lie: ten ways of it, each a column that is 1 where the data is not to be believed.

Nothing here changes a value. What a lie is compared with is the stream's own past and its *zone*: the channels of one
unit that the detector sees, its own and its witnesses. Everything that has a size (noise, quantum, how long it stands
still, how alike neighbours are) is learnt from the channel itself, in samples, so that a poll of half a second and one
a day are judged alike; what a standard says in seconds is a minimum. Before enough was seen the answer is NaN.

    flat         it does not move, though it used to and its zone does
    repeat       an earlier stretch comes again, to the last digit
    drop         it falls at once, alone, and stays, without calibration
    deaf         it does not answer what it used to answer: a fan that stops, a blast
    moved        it no longer follows its zone: somebody hung it elsewhere
    grain        smoother or coarser than this instrument is, or more digits than it has
    calibrating  called calibrating too long, or too often
    end          it stands at an end of its range where it never was, or has wrapped around
    spike        one sample far away and back, alone
    detour       its value no longer follows from its register: not the driver wrote it

Source: AQ 1029-2019 and Criminal Law art. 134-1 on falsification; the numbers are the project's (domain: 2.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import CALIBRATING, OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector, witnesses
from agent.core.rules import COMPARISONS, condition

LEARN = 120  # samples of a channel before its noise is known
MEMORY = 500  # samples over which noise is remembered
GAP = 5.0  # usual steps; after a longer pause differences say nothing
TINY = 1e-12


class Past(NamedTuple):
    """What every lie needs to know of the past of m channels; updated after they looked."""

    last: float  # s, of the last frame, NaN before any
    step: float  # s, usual time between frames
    frames: int
    value: Array  # (m,) last usable, NaN before any
    at: Array  # (m,) s, when
    usual: Array  # (m,) usual |difference| between samples; outliers are cut
    rate: Array  # (m,) share of samples that differ from the one before
    quantum: Array  # (m,) the least difference ever seen, inf before any
    seen: Array  # (m,) differences seen
    jumps: Array  # (m,) share of samples that are jumps: differences far beyond the usual
    stirred: Array  # (m,) samples since the last one


class Sample(NamedTuple):
    """One frame as every lie looks at it: n own channels first, then the witnesses, m in all."""

    n: int
    now: float  # s
    step: float  # s
    value: Array  # (m,) NaN where it cannot be used
    good: Array  # (m,) bool
    raw: Array  # (m,)
    calibrating: Array  # (n,) bool
    low: Array  # (m,) range, NaN where not stated
    high: Array  # (m,)
    zone: Array  # (m,) int
    diff: Array  # (m,) to the last usable, NaN where none is, or too long ago
    past: Past

    def others(self, count: Array) -> Array:
        """(n,) the sum of `count` (m,) over the rest of each channel's zone."""
        whole = np.bincount(self.zone, weights=count, minlength=int(self.zone.max(initial=0)) + 1)
        rest: Array = whole[self.zone[: self.n]] - count[: self.n]
        return rest

    def stir(self, samples: int) -> Array:
        """(n,) bool: another channel, of whatever unit, jumped within so many samples, and seldom does."""
        jumped = np.isfinite(self.diff) & (np.abs(self.diff) > 8 * noise(self.past)) | (self.past.stirred < samples)
        jumped &= self.past.jumps < 0.02
        rest: Array = jumped.sum() - jumped[: self.n] > 0
        return rest

    def lasts(self, seconds: float, samples: int) -> float:
        """At least so long and so many samples, in s."""
        return max(seconds, samples * self.step)


@lru_cache(256)
def _zones(seen: Layout) -> Array:
    """Which channels have one unit."""
    units = list(dict.fromkeys(seen.unit))
    return np.array([units.index(unit) for unit in seen.unit], int)


def _sample(past: Past, seen: Frame) -> Sample:
    n = len(seen.layout) - witnesses(seen.layout)
    good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE)
    value = np.where(good, seen.value, np.nan)
    now = seen.at.mono
    step = past.step if past.frames else 1.0
    diff = np.where(now - past.at <= GAP * step * 1.001, value - past.value, np.nan)
    calibrating = seen.quality[:n] == CALIBRATING
    low, high = seen.layout.low, seen.layout.high
    return Sample(n, now, step, value, good, seen.raw, calibrating, low, high, _zones(seen.layout), diff, past)


def _after(past: Past, s: Sample) -> Past:
    """The past with this sample."""
    known = np.isfinite(s.diff)
    size = np.where(known, np.abs(s.diff), 0.0)
    share = 1.0 / np.minimum(past.seen + 1, MEMORY)
    quantum = np.where(known & (size > TINY), np.minimum(past.quantum, size), past.quantum)
    most = np.maximum(6 * past.usual, 3 * np.where(np.isfinite(quantum), quantum, 0.0))
    cut = np.where(past.seen < 10, size, np.minimum(size, most))
    jumped = known & (size > 8 * noise(past))
    step = past.step
    if np.isfinite(past.last):
        passed = s.now - past.last
        step = passed if past.frames < 2 else step + (min(passed, 5 * step) - step) / min(past.frames, 50)
    return Past(
        last=s.now,
        step=step,
        frames=past.frames + 1,
        value=np.where(s.good, s.value, past.value),
        at=np.where(s.good, s.now, past.at),
        usual=np.where(known, past.usual + share * (cut - past.usual), past.usual),
        rate=np.where(known, past.rate + share * ((size > TINY) - past.rate), past.rate),
        quantum=quantum,
        seen=past.seen + known,
        jumps=np.where(known, past.jumps + share / 4 * (jumped - past.jumps), past.jumps),
        stirred=np.where(jumped, 0, past.stirred + 1),
    )


def noise(past: Past) -> Array:
    """(m,) the size of a usual difference, at least the quantum."""
    quantum = np.where(np.isfinite(past.quantum), past.quantum, 0.0)
    size: Array = np.maximum(past.usual, quantum)
    return size


def _blank(m: int) -> Past:
    nan, zero = np.full(m, np.nan), np.zeros(m)
    none = np.zeros(m, int)
    return Past(np.nan, 1.0, 0, nan, np.full(m, -np.inf), zero, zero, np.full(m, np.inf), none, zero, np.full(m, LEARN))


# -- flat -----------------------------------------------------------------------------------------------


class Flat(NamedTuple):
    """A run is a stretch without any change."""

    samples: Array  # (n,) of the run
    chance: Array  # (n,) `rate` when it began
    moves: Array  # (n,) how often the zone had moved when it began
    hope: Array  # (n,) how often it should have
    longest: Array  # (n,) samples of the longest run so far, slowly forgotten
    zone_moves: Array  # (k,) of each zone, since the start; the last of them is all channels
    zone_hope: Array  # (k,)

    @staticmethod
    def start(n: int, m: int) -> Flat:
        zero = np.zeros(n)
        return Flat(zero, zero, zero, zero, zero, np.zeros(m + 1), np.zeros(m + 1))


def flat(rule: Tamper, memory: Flat, s: Sample) -> tuple[Flat, Array]:
    """Improbably long without a change, while the zone goes on as usual."""
    n, known = s.n, np.isfinite(s.diff)
    moved = known & (np.abs(s.diff) > TINY)
    k = len(memory.zone_moves)
    chances = np.where(known, s.past.rate, 0.0)
    moves = memory.zone_moves + np.bincount(s.zone, weights=moved, minlength=k)
    hope = memory.zone_hope + np.bincount(s.zone, weights=chances, minlength=k)
    moves[-1], hope[-1] = memory.zone_moves[-1] + moved.sum(), memory.zone_hope[-1] + chances.sum()
    alone = s.others(np.ones(len(s.zone))) < 1
    ends, here = moved[:n] | (s.good[:n] & ~known[:n]), np.where(alone, k - 1, s.zone[:n])
    samples = np.where(ends, 0, memory.samples + known[:n])
    longest = np.where(ends, np.maximum(0.995 * memory.longest, memory.samples), memory.longest)
    chance = np.where(ends, s.past.rate[:n], memory.chance)
    began, hoped = np.where(ends, moves[here], memory.moves), np.where(ends, hope[here], memory.hope)
    due = chance * samples  # changes that should have come
    theirs, expected = moves[here] - began, hope[here] - hoped - due
    only = len(s.zone) == 1
    lively = due >= 2 * rule.due if only else (theirs >= 0.5 * expected) & (expected >= rule.due / 4)
    long = (samples * s.step >= rule.flat) & (samples > 3 * longest) & (due >= rule.due)
    found = np.where(s.past.seen[:n] >= LEARN, (long & lively).astype(float), np.nan)
    return Flat(samples, chance, began, hoped, longest, moves, hope), found


# -- repeat ---------------------------------------------------------------------------------------------

WORD = 8  # changes that make a word
SPARSE = (8, 64, 512)  # one word of so many is remembered, at each level: 2,000, 16,000, 130,000 changes back
KEPT = 256  # words at each level
PRIME = 1_099_511_628_211  # of the FNV hash


class Repeat(NamedTuple):
    """A word is the hash of the last `WORD` changes: values, and how long they stood."""

    stood: Array  # (n,) samples since the last change
    token: Array  # (WORD, n) uint64, newest last
    tokens: Array  # (n,) changes so far
    words: tuple[Array, ...]  # by level: (KEPT, n) uint64, 0 where none
    places: tuple[Array, ...]  # by level: (KEPT, n) the change that ended it
    next: tuple[Array, ...]  # by level: (n,) where the next one goes
    lag: Array  # (n,) changes between the stretches that seem alike, 0 where none do
    alike: Array  # (n,) words in a row that came again at this lag
    begun: Array  # (n,) s, since when
    until: Array  # (n,) s, until when it counts as repeating

    @staticmethod
    def start(n: int, m: int) -> Repeat:
        levels = range(len(SPARSE))
        zero = np.zeros(n, int)
        return Repeat(
            zero,
            np.zeros((WORD, n), np.uint64),
            zero,
            tuple(np.zeros((KEPT, n), np.uint64) for _ in levels),
            tuple(np.zeros((KEPT, n), int) for _ in levels),
            tuple(zero for _ in levels),
            zero,
            zero,
            np.full(n, np.nan),
            np.full(n, -np.inf),
        )


def repeat(rule: Tamper, memory: Repeat, s: Sample) -> tuple[Repeat, Array]:
    """Words that come again, one after the other, always so many changes later."""
    n = s.n
    known = np.isfinite(s.diff[:n])
    changed = known & (np.abs(s.diff[:n]) > TINY)
    broken = s.good[:n] & ~known
    stood = np.where(changed | broken, 0, memory.stood + known)
    said = np.where(s.past.seen[:n] >= LEARN, (s.now < memory.until).astype(float), np.nan)
    if not changed.any():
        return memory._replace(stood=stood), said
    with np.errstate(over="ignore"):
        fresh = _mixed(s.value[:n].view(np.uint64) ^ (memory.stood.astype(np.uint64) * np.uint64(PRIME)))
        token = np.where(changed, np.vstack([memory.token[1:], fresh]), memory.token)
        word = np.zeros(n, np.uint64)
        for one in token:
            word = (word ^ one) * np.uint64(PRIME)
        word = _mixed(word)
    tokens = memory.tokens + changed
    whole = changed & (tokens >= WORD)
    words, places, following = list(memory.words), list(memory.places), list(memory.next)
    lag, alike, begun = memory.lag, memory.alike, memory.begun
    for level, sparse in enumerate(SPARSE):
        marked = whole & (word % np.uint64(sparse) == 0)
        if not marked.any():
            continue
        same = (words[level] == word) & (tokens - places[level] >= WORD) & marked
        found = np.where(same.any(0), tokens - np.where(same, places[level], -1).max(0), 0)
        kept = marked & (lag > 0) & (same & (tokens - places[level] == lag)).any(0)
        new = marked & ~kept & (found > 0) & (alike < 2)
        reached = lag <= KEPT * sparse / 2  # farther back this level does not remember
        lost = marked & ~kept & ~new & (lag > 0) & reached
        begun = np.where(new, s.now, np.where(lost, np.nan, begun))
        lag = np.where(new, found, np.where(lost, 0, lag))
        alike = np.where(new, 1, np.where(kept, alike + 1, np.where(lost, 0, alike)))
        words[level], places[level] = words[level].copy(), places[level].copy()
        columns = np.flatnonzero(marked)
        words[level][following[level][columns], columns] = word[columns]
        places[level][following[level][columns], columns] = tokens[columns]
        following[level] = np.where(marked, (following[level] + 1) % KEPT, following[level])
    enough = (alike >= rule.alike) & changed
    until = np.where(enough, s.now + s.lasts(rule.hold, 20), memory.until)
    memory = Repeat(stood, token, tokens, tuple(words), tuple(places), tuple(following), lag, alike, begun, until)
    return memory, np.where(np.isnan(said), np.nan, (s.now < until).astype(float))


def _mixed(x: Array) -> Array:
    """Bits of a 64-bit number spread over all others (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = x ^ (x >> np.uint64(31))
    return mixed


# -- drop -----------------------------------------------------------------------------------------------

BACK = 9  # samples whose median is the level before


class Drop(NamedTuple):
    recent: Array  # (BACK, n) last usable values, newest last
    doubt: Array  # (n,) bool: calibrated since the last usable value
    above: Array  # (n,) the level before the fall, NaN where none is under way
    below: Array  # (n,) to where it fell
    samples: Array  # (n,) since then
    habit: Array  # (n,) how often it falls like this, slowly forgotten

    @staticmethod
    def start(n: int, m: int) -> Drop:
        nan = np.full(n, np.nan)
        return Drop(np.full((BACK, n), np.nan), np.zeros(n, bool), nan, nan, np.zeros(n, int), np.zeros(n))


def drop(rule: Tamper, memory: Drop, s: Sample) -> tuple[Drop, Array]:
    """By half or more in one sample, far beyond its noise, alone; and it stays there."""
    n, value, good, usual = s.n, s.value[: s.n], s.good[: s.n], noise(s.past)[: s.n]
    steady = np.sort(memory.recent, axis=0)  # NaN last
    level, spread = steady[BACK // 2], steady[-1] - steady[0]
    zero = np.where(np.isfinite(s.low[:n]), s.low[:n], 0.0)
    fall = level - value
    falls = (
        (fall >= rule.drop * (level - zero))
        & (level > zero)
        & (fall >= 8 * usual)
        & (-s.diff[:n] >= 0.8 * fall)
        & (spread <= 0.5 * fall)
        & (s.past.rate[:n] > 0.02)  # no switch
        & ~s.stir(3)
        & ~memory.doubt
    )
    under = np.isfinite(memory.above)
    begins = falls & good & ~under
    above = np.where(begins, level, memory.above)
    below = np.where(begins, value, memory.below)
    samples = np.where(begins, 1, memory.samples + (good & under))
    size = above - below
    back = good & under & (value >= above - 0.3 * size)
    settled = under & (samples > MEMORY)  # so long: it is the level now
    ends = back | settled
    stays = under & (samples == STAYS) & good & ~ends
    habit = np.where(good, memory.habit * (1 - 1 / 5000), memory.habit) + stays
    above = np.where(ends, np.nan, above)
    told = np.isfinite(above) & (samples >= STAYS) & (habit < 2.5)
    recent = np.where(good, np.vstack([memory.recent[1:], value]), memory.recent)
    doubt = (memory.doubt & ~good) | s.calibrating
    memory = Drop(recent, doubt, above, below, np.where(ends, 0, samples), habit)
    return memory, np.where(s.past.seen[:n] >= LEARN, told.astype(float), np.nan)


STAYS = 4  # samples that it must stay low


# -- deaf -----------------------------------------------------------------------------------------------


class Deaf(NamedTuple):
    """q stimuli, each a condition that begins to hold."""

    held: Array  # (q,) bool: it held in the last frame
    since: Array  # (q,) s, when it began, NaN where nothing is waited for
    before: Array  # (q, n) level then
    most: Array  # (q, n) farthest from it since
    blind: Array  # (q, n) bool: not seen all the time since
    usual: Array  # (q, n) what an answer is like
    answers: Array  # (q, n) seen
    deaf: Array  # (q, n) bool

    @staticmethod
    def begin(q: int, n: int) -> Deaf:
        zero = np.zeros((q, n))
        no = np.zeros((q, n), bool)
        return Deaf(np.ones(q, bool), np.full(q, np.nan), zero, zero, no, zero, zero, no)


def deaf(rule: Tamper, memory: Deaf, s: Sample, stirred: Array) -> tuple[Deaf, Array]:
    """No answer, or a fifth of the usual one, within `patience` of a stimulus that it answered at least twice."""
    value, good = s.value[: s.n], s.good[: s.n]
    level = np.where(good, value, s.past.value[: s.n])
    begins = stirred & ~memory.held
    since = np.where(begins, s.now, memory.since)
    before = np.where(begins[:, None], level, memory.before)
    waits = np.isfinite(since)[:, None]
    most = np.where(begins[:, None], 0.0, memory.most)
    most = np.where(waits & good, np.maximum(most, np.abs(value - before)), most)
    blind = np.where(begins[:, None], ~good, memory.blind | ~good)
    over = (s.now - since >= s.lasts(rule.patience, 10))[:, None] & np.isfinite(before)
    answered = over & (most > 6 * noise(s.past)[: s.n])
    silent = over & ~blind & (memory.answers >= 2) & (most < 0.2 * memory.usual)
    count = memory.answers + answered
    share = 1.0 / np.minimum(np.maximum(count, 1), 5)
    usual = np.where(answered & ~silent, memory.usual + share * (most - memory.usual), memory.usual)
    is_deaf = (memory.deaf & ~(answered & ~silent)) | silent
    since = np.where(over.any(1), np.nan, since)
    memory = Deaf(stirred, since, before, most, blind, usual, count, is_deaf)
    able = (count >= 2).any(0)
    return memory, np.where(able, is_deaf.any(0).astype(float), np.nan)


# -- moved ----------------------------------------------------------------------------------------------

STRIDE = 30.0  # s between looks; in between values are averaged
TREND, LATELY, LONG = 120, 720, 4800  # looks: what is slower is no likeness; over which it is taken now, and usually


class Moved(NamedTuple):
    looked: float  # s
    total: Array  # (m,) sum of usable values since
    number: Array  # (m,) of how many
    mean: Array  # (m,) over TREND looks
    spread: Array  # (m,) variance
    looks: Array  # (m,)
    product: Array  # (3, n) lately: own x zone, own^2, zone^2
    usual: Array  # (n,) likeness, as Fisher's z
    wander: Array  # (n,) how far it usually is from that
    lost: Array  # (n,) looks in a row that it is unlike
    told: Array  # (n,) bool

    @staticmethod
    def start(n: int, m: int) -> Moved:
        zero, none = np.zeros(m), np.zeros(n)
        return Moved(-np.inf, zero, zero, zero, zero, zero, np.zeros((3, n)), none, none, none, np.zeros(n, bool))


def moved(rule: Tamper, memory: Moved, s: Sample) -> tuple[Moved, Array]:
    """Correlation with the rest of the zone, lately against usually."""
    n = s.n
    total = memory.total + np.where(s.good, s.value, 0.0)
    number = memory.number + s.good
    ready = memory.looks[:n] >= LONG
    if s.now - memory.looked < STRIDE:
        memory = memory._replace(total=total, number=number)
        return memory, np.where(ready, memory.told.astype(float), np.nan)
    here = number > 0
    x = np.where(here, total / np.maximum(number, 1), 0.0)
    looks = memory.looks + here
    share = np.where(here, 1.0 / np.minimum(np.maximum(looks, 1), TREND), 0.0)
    off = x - memory.mean
    scale = np.sqrt(memory.spread) + TINY
    z = np.where(here & (memory.looks > 20), np.clip(off / scale, -2.5, 2.5), 0.0)
    away = np.where(memory.looks < 20, off, np.clip(off, -4 * scale, 4 * scale))
    mean = memory.mean + share * away
    spread = memory.spread + share * (away**2 - memory.spread)
    rest = s.others((here & (memory.looks > 20)).astype(float))
    zone = s.others(np.where(here, z, 0.0)) / np.maximum(rest, 1)
    both = here[:n] & (rest >= 1) & (memory.looks[:n] > 20)
    now = np.stack([z[:n] * zone, z[:n] ** 2, zone**2])
    product = np.where(both, memory.product + (now - memory.product) / LATELY, memory.product)
    likeness = product[0] / np.sqrt(np.maximum(product[1] * product[2], TINY))
    fisher = np.arctanh(np.clip(likeness, -0.999, 0.999))
    # slow, and only while all is well: what is told must not become usual
    learns = both & (looks[:n] > LATELY) & ~memory.told
    pace = 1.0 / np.minimum(np.maximum(looks[:n] - LATELY, 1), LONG)
    usual = np.where(learns, memory.usual + pace * (fisher - memory.usual), memory.usual)
    wander = np.where(learns, memory.wander + pace * (np.abs(fisher - usual) - memory.wander), memory.wander)
    lively = product[2] > 0.3 * rest_variance(rest)
    far = (usual - fisher) / np.maximum(wander, 0.05)
    strangers = ((likeness < 0.2) & (far > 2.5)) | ((likeness < 0.5 * np.tanh(usual)) & (far > 5))
    unlike = (usual > 0.5) & strangers & lively & ready
    lost = np.where(both, np.where(unlike, memory.lost + 1, 0), memory.lost)
    kept = (likeness > 0.3) | (usual - fisher < 2 * wander)
    told = (memory.told & ~kept) | (lost >= LATELY / 8)
    memory = Moved(
        s.now, np.zeros_like(total), np.zeros_like(number), mean, spread, looks, product, usual, wander, lost, told
    )
    return memory, np.where(ready, told.astype(float), np.nan)


def rest_variance(rest: Array) -> Array:
    """What the mean of so many neighbours varies by, were they half alike."""
    variance: Array = 0.5 + 0.5 / np.maximum(rest, 1)
    return variance


# -- grain ----------------------------------------------------------------------------------------------

SHORT = 40  # samples over which it is now
LONG_AGO = 2000  # over which it usually is
WIDE = np.array([3.0, 4.0, 5.0])  # quanta: steps of ten are steps of five


class Grain(NamedTuple):
    """Sizes are logarithms: a plume that comes and goes must not make the calm look smooth."""

    size: Array  # (m,) mean size of a difference over SHORT
    usual: Array  # (2, m) its mean over long, and how far it usually is from that
    zeros: Array  # (2, n) share without change: over SHORT, and over long
    odd: Array  # (2, n) share that is no multiple of the quantum: over SHORT, and over long
    wide: Array  # (len(WIDE), n) changes in a row that are multiples of so many quanta
    usual_wide: Array  # (len(WIDE), n) share of changes that are, over long
    quantum: Array  # (n,) as it was learnt
    samples: Array  # (m,)
    bad: Array  # (n,) samples in a row

    @staticmethod
    def start(n: int, m: int) -> Grain:
        two, many = np.zeros((2, n)), np.zeros((len(WIDE), n))
        none = np.zeros(m, int)
        return Grain(np.zeros(m), np.zeros((2, m)), two, two, many, many, np.full(n, np.nan), none, none[:n])


def grain(rule: Tamper, memory: Grain, s: Sample) -> tuple[Grain, Array]:
    """The small differences are not those of this instrument any more, while the zone's are as ever."""
    n, known = s.n, np.isfinite(s.diff)
    size = np.where(known, np.abs(s.diff), 0.0)
    samples = memory.samples + known
    fast, slow = 1.0 / np.minimum(samples + 1, SHORT), 1.0 / np.minimum(samples + 1, LONG_AGO)
    slow[:n] *= np.where(memory.bad > 0, 0.1, 1.0)  # what is told becomes usual only slowly
    log = np.log(np.maximum(size, 0.5 * noise(s.past._replace(usual=np.zeros_like(size)))) + TINY)
    near = np.where(known, memory.size + fast * (log - memory.size), memory.size)
    off = near - memory.usual[0]
    usual = memory.usual + np.where(known & (samples > SHORT), slow, 0.0) * [off, np.abs(off) - memory.usual[1]]
    still = known[:n] & (size[:n] <= TINY)
    quantum = np.where(samples[:n] <= 4 * LEARN, s.past.quantum[:n], memory.quantum)
    steps = size[:n] / np.where(np.isfinite(quantum) & (quantum > 0), quantum, 1.0)
    odd = known[:n] & (np.abs(steps - np.round(steps)) > 0.02)
    paces = np.where(known[:n], [fast[:n], slow[:n]], 0.0)
    zeros, odds = memory.zeros + paces * (still - memory.zeros), memory.odd + paces * (odd - memory.odd)
    parts = steps / WIDE[:, None]
    multiple = np.abs(parts - np.round(parts)) < 0.02
    change = known[:n] & ~still
    wide = np.where(change, np.where(multiple, memory.wide + 1, 0), memory.wide)
    usual_wide = memory.usual_wide + np.where(change, slow[:n], 0.0) * (multiple - memory.usual_wide)
    below = known & (off < -np.maximum(0.9, 4 * memory.usual[1]))
    calm = s.others((below & (samples >= LONG_AGO / 2)).astype(float)) > 0.34 * s.others(known.astype(float))
    smooth = below[:n] & ~calm & (samples[:n] >= LONG_AGO / 2) & (zeros[1] < 0.5)
    dead = (zeros[0] > 0.8) & (zeros[0] < 0.999) & (zeros[1] < 0.35) & ~calm
    digits = (odds[0] > 0.3) & (odds[1] < 0.1)
    # so many in a row would be a chance of 1e-11 where they usually are so many
    rows = (wide * -np.log(np.clip(usual_wide, 0.2, 1.0)) > 25).any(0)
    ready = samples[:n] >= 4 * LEARN
    suspect = ready & (smooth | dead | digits | rows)
    bad = np.where(known[:n], np.where(suspect, memory.bad + 1, 0), memory.bad)
    told = bad * s.step >= s.lasts(rule.grain, 60)
    memory = Grain(near, usual, zeros, odds, wide, usual_wide, quantum, samples, bad)
    return memory, np.where(ready, told.astype(float), np.nan)


# -- calibrating ----------------------------------------------------------------------------------------


class Calibrating(NamedTuple):
    since: Array  # (n,) s, NaN while it is not
    begun: Array  # (often, n) s, when it was begun lately, newest last

    @staticmethod
    def begin(often: int, n: int) -> Calibrating:
        return Calibrating(np.full(n, np.nan), np.full((often, n), -np.inf))


def calibrating(rule: Tamper, memory: Calibrating, s: Sample) -> tuple[Calibrating, Array]:
    """Longer than `calibration`, or more than `calibrations` times within `due_days`."""
    begins = s.calibrating & np.isnan(memory.since)
    since = np.where(
        s.calibrating, np.where(begins, s.now, memory.since), np.where(s.good[: s.n], np.nan, memory.since)
    )
    begun = np.where(begins, np.vstack([memory.begun[1:], np.full(s.n, s.now)]), memory.begun)
    long = s.now - since > rule.calibration
    often = s.now - begun[0] < rule.due_days * 86400.0
    return Calibrating(since, begun), (long | often).astype(float)


# -- end ------------------------------------------------------------------------------------------------


class End(NamedTuple):
    top: Array  # (n,) samples in a row at the upper end
    bottom: Array  # (n,) at the lower
    habit: Array  # (2, n) share of samples there, usually
    raw: Array  # (n,) the last register
    near: Array  # (n,) which end the last value was near: 1, -1, 0
    wrapped: Array  # (n,) s, until when it counts as wrapped

    @staticmethod
    def start(n: int, m: int) -> End:
        zero = np.zeros(n)
        return End(zero, zero, np.zeros((2, n)), np.full(n, np.nan), zero, np.full(n, -np.inf))


def end(rule: Tamper, memory: End, s: Sample) -> tuple[End, Array]:
    """Against the stop for long where it never was; or from end to end in one step, or by all of a register."""
    n, value, good = s.n, s.value[: s.n], s.good[: s.n]
    span = s.high[:n] - s.low[:n]
    top = np.where(good, np.where(value >= s.high[:n] - 0.005 * span, memory.top + 1, 0), memory.top)
    bottom = np.where(good, np.where(value <= s.low[:n] + 0.005 * span, memory.bottom + 1, 0), memory.bottom)
    there = np.stack([top > 0, bottom > 0])
    pace = 1.0 / np.minimum(s.past.seen[:n] + 1, 4 * MEMORY)
    habit = np.where(good, memory.habit + pace * (there - memory.habit), memory.habit)
    long = s.lasts(rule.stop, 10) / s.step
    quiet = ~s.stir(int(2 * long))
    stuck = ((top >= long) & (memory.habit[0] < 0.1)) | ((bottom >= long) & (memory.habit[1] < 0.02) & quiet)
    habit = np.where(there & stuck, memory.habit, habit)  # what is told does not become usual
    near = np.where(value >= s.high[:n] - 0.15 * span, 1.0, np.where(value <= s.low[:n] + 0.15 * span, -1.0, 0.0))
    raw = s.raw[:n]
    turned = np.abs(raw - memory.raw)
    over = good & (
        ((near * memory.near < 0) & (np.abs(s.diff[:n]) >= 0.75 * span) & ~s.stir(3))
        | ((turned > 0.9 * 65536) & (turned < 65536.5) & (np.abs(s.diff[:n]) > 50 * noise(s.past)[:n]))
    )
    back = over & (memory.wrapped > s.now)
    wrapped = np.where(over & ~back, s.now + s.lasts(24 * 3600.0, 200), np.where(back, -np.inf, memory.wrapped))
    memory = End(top, bottom, habit, np.where(good, raw, memory.raw), np.where(good, near, memory.near), wrapped)
    able = np.isfinite(span) | np.isfinite(raw)
    return memory, np.where(able & (s.past.seen[:n] >= LEARN), (stuck | (s.now < wrapped)).astype(float), np.nan)


# -- spike ----------------------------------------------------------------------------------------------


class Spike(NamedTuple):
    before: Array  # (2, m) the last two usable values, newest last
    big: Array  # (n,) the largest so far, slowly forgotten
    until: Array  # (n,) s, until when it is shown

    @staticmethod
    def start(n: int, m: int) -> Spike:
        return Spike(np.full((2, m), np.nan), np.zeros(n), np.full(n, -np.inf))


def spike(rule: Tamper, memory: Spike, s: Sample) -> tuple[Spike, Array]:
    """Far away for one sample, and back where it was; seen one sample later."""
    n = s.n
    first, middle = memory.before
    height = np.abs(middle - (first + s.value) / 2)
    back = np.abs(s.value - first) <= 0.3 * height
    usual = noise(s.past)
    span = s.high[:n] - s.low[:n]
    learnt = np.where(s.past.seen[:n] >= MEMORY, np.maximum(60 * usual[:n], 4 * memory.big), np.inf)
    least = np.where(np.isfinite(span), np.maximum(rule.spike * span, 12 * usual[:n]), learnt)
    found = np.isfinite(height[:n]) & back[:n] & (height[:n] >= least) & ~s.stir(3) & (s.past.rate[:n] > 0.02)
    judged = s.past.seen[:n] >= LEARN
    here = np.where(np.isfinite(height[:n]) & back[:n], height[:n], 0.0)
    big = np.where(s.good[:n], np.maximum(memory.big * (1 - 1 / 5000), here), memory.big)
    until = np.where(found & judged, s.now + s.lasts(rule.hold, 20), memory.until)
    before = np.where(s.good, np.stack([middle, s.value]), memory.before)
    broken = s.good & ~np.isfinite(s.diff)
    before = np.where(broken, np.stack([np.full_like(middle, np.nan), s.value]), before)
    return Spike(before, big, until), np.where(judged, (s.now < until).astype(float), np.nan)


# -- detour ---------------------------------------------------------------------------------------------


class Detour(NamedTuple):
    first: Array  # (2, n) a register and its value
    far: Array  # (2, n) another, as far from it as was seen while learning
    fits: Array  # (n,) samples that lie on the line between them
    wrong: Array  # (n,) in a row that do not

    @staticmethod
    def start(n: int, m: int) -> Detour:
        nan = np.full((2, n), np.nan)
        return Detour(nan, nan, np.zeros(n, int), np.zeros(n, int))


def detour(rule: Tamper, memory: Detour, s: Sample) -> tuple[Detour, Array]:
    """Off the straight line from register to value on which all samples lay."""
    n = s.n
    raw, value = s.raw[:n], s.value[:n]
    able = s.good[:n] & np.isfinite(raw)
    pair = np.stack([raw, value])
    first = np.where(able & np.isnan(memory.first[0]), pair, memory.first)
    farther = able & ~(np.abs(raw - first[0]) <= np.abs(memory.far[0] - first[0])) & (raw != first[0])
    learning = memory.fits < LEARN
    far = np.where(farther & learning, pair, memory.far)
    slope = (far[1] - first[1]) / (far[0] - first[0])
    line = first[1] + slope * (raw - first[0])
    room = 1e-4 * np.abs(far[1] - first[1]) + 1e-6 * np.abs(value) + TINY
    on = able & (np.abs(value - line) <= room)
    off = able & np.isfinite(line) & ~on
    fits = np.where(learning, np.where(off, 0, memory.fits + on), memory.fits)
    first = np.where(learning & off, pair, first)  # no line yet: begin anew
    far = np.where(learning & off, np.nan, far)
    wrong = np.where(learning, 0, np.where(off, memory.wrong + 1, np.where(on, 0, memory.wrong)))
    return Detour(first, far, fits, wrong), np.where(fits >= LEARN, (wrong >= 2).astype(float), np.nan)


# -- all of them ----------------------------------------------------------------------------------------

Lie = Literal["flat", "repeat", "drop", "deaf", "moved", "grain", "calibrating", "end", "spike", "detour"]
PLAIN: Mapping[str, tuple[Any, Callable[..., Any]]] = {
    "flat": (Flat, flat),
    "repeat": (Repeat, repeat),
    "drop": (Drop, drop),
    "moved": (Moved, moved),
    "grain": (Grain, grain),
    "end": (End, end),
    "spike": (Spike, spike),
    "detour": (Detour, detour),
}

TIMES: Mapping[str, tuple[str, ...]] = {  # what in a memory is an instant
    "past": ("last", "at"),
    "repeat": ("begun", "until"),
    "deaf": ("since",),
    "moved": ("looked",),
    "calibrating": ("since", "begun"),
    "end": ("wrapped",),
    "spike": ("until",),
}


class Memory(NamedTuple):
    """Of every lie, asked for or not."""

    past: Past
    flat: Flat
    repeat: Repeat
    drop: Drop
    deaf: Deaf
    moved: Moved
    grain: Grain
    calibrating: Calibrating
    end: End
    spike: Spike
    detour: Detour


class Tamper(Detector, tag="tamper", frozen=True, kw_only=True):
    """Whether channels lie.

    In:      value (n,) of one zone; witnesses are further channels of it, and what `answers` names. Neighbours are
             those of the same unit.
    Out:     `<key>.<lie>` for each of `kinds`: 1 it lies, 0 it does not, NaN cannot say yet. GOOD.
    Memory:  (n,) and (m,) arrays of fixed size, about 20 kB a channel (`repeat`: 12). A restart goes on.
    Weak at: a lie that begins before enough was seen (`LEARN` samples; `moved` 20 hours at least); a whole zone that
             lies together; a fake as lively and as alike as the truth.
    Source:  as at the head of this file.
    """

    looks_beside: ClassVar[bool] = True
    lies: ClassVar[tuple[str, ...]] = Memory._fields[1:]

    kinds: tuple[Lie, ...] = Memory._fields[1:]  # type: ignore[assignment]  # which of them are looked for
    answers: tuple[str, ...] = ()  # what all its channels must answer, like `heading/fan < 1`; looked at when it begins
    patience: Annotated[float, Meta(gt=0)] = 1800.0  # s that an answer may take
    flat: Annotated[float, Meta(gt=0)] = 1800.0  # s without a change, at least
    due: Annotated[float, Meta(gt=0)] = 25.0  # changes that should have come by then
    alike: Annotated[int, Meta(ge=2)] = 4  # words of a stretch that came again
    drop: Annotated[float, Meta(gt=0, le=1)] = 0.5  # share of the level that is lost
    grain: Annotated[float, Meta(gt=0)] = 1800.0  # s that it must be so
    calibration: Annotated[float, Meta(gt=0)] = 1800.0  # s that it may last
    calibrations: Annotated[int, Meta(ge=1)] = 3  # so many ...
    due_days: Annotated[float, Meta(gt=0)] = 15.0  # ... within this, d
    stop: Annotated[float, Meta(gt=0)] = 60.0  # s at an end of the range
    spike: Annotated[float, Meta(gt=0)] = 0.5  # of the range
    hold: Annotated[float, Meta(gt=0)] = 600.0  # s that what lasts a moment is shown

    def __post_init__(self) -> None:
        for text in self.answers:
            condition(text)

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, *(condition(text).channel for text in self.answers)]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        own = seen.key[: len(seen) - witnesses(seen)]
        return [(f"{key}.{lie}", "") for lie in self.kinds for key in own]

    def start(self, seen: Layout) -> Memory:
        m = len(seen)
        n = m - witnesses(seen)
        deaf, calibrations = Deaf.begin(len(self.answers), n), Calibrating.begin(self.calibrations + 1, n)
        made = {name: type_.start(n, m) for name, (type_, _) in PLAIN.items()}
        return Memory(past=_blank(m), deaf=deaf, calibrating=calibrations, **made)

    def step(self, memory: Memory, seen: Frame) -> tuple[Any, Array, Array]:
        s = _sample(memory.past, seen)
        new: dict[str, Any] = {"past": _after(memory.past, s)}
        told = []
        for lie in self.kinds:
            mine = getattr(memory, lie)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                if lie == "deaf":
                    new[lie], found = deaf(self, mine, s, self._stirred(seen))
                elif lie == "calibrating":
                    new[lie], found = calibrating(self, mine, s)
                else:
                    new[lie], found = PLAIN[lie][1](self, mine, s)
            told.append(found)
        columns = np.concatenate(told) if told else np.zeros(0)
        return memory._replace(**new), columns, np.zeros(len(columns), np.uint8)

    def _stirred(self, seen: Frame) -> Array:
        """(q,) whether each stimulus holds; what nobody can see does not."""
        held = []
        for text in self.answers:
            wanted = condition(text)
            source, _, key = wanted.channel.partition("/")
            names = seen.layout.key
            where = wanted.channel if wanted.channel in names else key if source == seen.source and key in names else ""
            value = float(seen.value[names.index(where)]) if where else np.nan
            held.append(bool(np.isfinite(value)) and bool(COMPARISONS[wanted.compare](value, wanted.value)))
        return np.array(held, bool)

    def moved(self, memory: Memory, seconds: float) -> Memory:
        parts = {}
        for name, times in TIMES.items():
            part = getattr(memory, name)
            parts[name] = part._replace(**{time: getattr(part, time) + seconds for time in times})
        return memory._replace(**parts)
