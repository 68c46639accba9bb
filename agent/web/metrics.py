"""`/metrics` in the text format of Prometheus, and what `/readyz` says.

The names in `METRICS` are kept: what is renamed gets a new name and keeps the old one for a year. Times are seconds,
sizes bytes, shares from 0 to 1. Source: Prometheus, exposition format 0.0.4 and metric naming.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from .. import __version__
from ..core.alarm import LEVELS, STATE_NAMES, Level, colour
from ..core.colours import Branch
from ..core.core import open_alarms
from ..core.frame import Quality
from . import glance
from .glance import Desk
from .stream import Streams

Kind = Literal["gauge", "counter"]


class Metric(NamedTuple):
    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS: Mapping[str, Metric] = {
    "vedette_info": Metric("gauge", ("site", "node", "version", "boot", "config"), "Always 1; who this is."),
    "vedette_clock_synced": Metric("gauge", (), "1 while the wall clock can be trusted."),
    "vedette_channel_value": Metric("gauge", ("channel", "unit"), "Last value; absent while nobody knows it."),
    "vedette_channel_quality": Metric(
        "gauge", ("channel",), "0 good, 1 uncertain, 2 over range, 3 calibrating, 4 stale, 5 faulty, 6 offline."
    ),
    "vedette_channel_age_seconds": Metric("gauge", ("channel",), "Time since the value was measured."),
    "vedette_alarms": Metric("gauge", ("level", "state"), "Alarms that are not normal, by level and state."),
    "vedette_alarm_active": Metric("gauge", ("rule", "channel", "level"), "1 while the hazard is there; else absent."),
    "vedette_item_colour": Metric("gauge", ("item",), "0 none, 1 blue, 2 yellow, 3 orange, 4 red."),
    "vedette_alarms_raised_total": Metric("counter", (), "Alarms raised since the start."),
    "vedette_alarms_raised_10m": Metric("gauge", (), "Alarms raised in 10 min; ISA-18.2: 1 on average, 10 at most."),
    "vedette_alarms_stale": Metric("gauge", (), "Alarms that stand for more than a day; ISA-18.2: fewer than 5."),
    "vedette_alarms_chattering": Metric("gauge", (), "Points that come three times within a minute; aim: 0."),
    "vedette_alarms_flood": Metric("gauge", (), "1 from more than 10 raises in 10 min until fewer than 5."),
    "vedette_alarms_top_ten_ratio": Metric("gauge", (), "Share of a day's raises of the ten most frequent points."),
    "vedette_device_up": Metric("gauge", ("line", "device"), "1 while the device answers; 0 while it is only probed."),
    "vedette_device_requests": Metric("gauge", ("line", "device"), "Requests in the last 5 min."),
    "vedette_device_errors": Metric(
        "gauge", ("line", "device", "kind"), "Of these, without reply (silent), not to be read (garbled), refused."
    ),
    "vedette_device_round_trip_seconds": Metric("gauge", ("line", "device"), "Mean time to a reply."),
    "vedette_uplink_up": Metric("gauge", ("uplink",), "1 while the platform is connected."),
    "vedette_uplink_waiting": Metric("gauge", ("uplink", "lane"), "What the platform has not confirmed."),
    "vedette_uplink_oldest_seconds": Metric("gauge", ("uplink", "lane"), "Age of the oldest of it, where known."),
    "vedette_uplink_dropped_total": Metric("counter", ("uplink", "lane"), "Dropped undelivered since the start."),
    "vedette_journal_records": Metric("gauge", (), "Number of the newest record of the journal on the disk."),
    "vedette_journal_lost_total": Metric("counter", (), "Records that the disk did not take."),
    "vedette_store_trouble": Metric("gauge", ("file",), "1 while a file of the store does not take what it should."),
    "vedette_loop_lag_seconds": Metric("gauge", (), "How late the loop ran in the worst second of the last five."),
    "vedette_judge_queue": Metric("gauge", (), "Frames that wait for judgement."),
    "vedette_orders_unmet": Metric("gauge", (), "Outputs not known to be in the state that alarms want."),
    "vedette_restarts_total": Metric("counter", (), "Lines, uplinks and the like that were started again."),
    "vedette_crashes_total": Metric("counter", (), "Exceptions that nobody expected."),
    "vedette_memory_bytes": Metric("gauge", (), "Resident memory of the daemon."),
    "vedette_descriptors": Metric("gauge", (), "Open file descriptors."),
    "vedette_disk_free_ratio": Metric("gauge", (), "Free share of the disk of the store."),
    "vedette_judge_wait_seconds": Metric("gauge", (), "99 of 100 readings of the last five s waited at most so long."),
    "vedette_commit_seconds": Metric("gauge", (), "Slowest commit of alarms in the last five s."),
    "vedette_write_errors": Metric("gauge", (), "Writes of store and journal that failed within the last hour."),
    "vedette_memory_limit_ratio": Metric("gauge", (), "Share of the memory that may be had; of the cgroup or machine."),
    "vedette_descriptors_limit_ratio": Metric("gauge", (), "Share of the descriptors that may be open."),
    "vedette_starts_24h": Metric("gauge", (), "Starts of the daemon within a day."),
    "vedette_children_died": Metric("gauge", (), "Processes for cameras and clips that died within the last hour."),
    "vedette_disk_full_seconds": Metric("gauge", (), "Time until the disk is full at this pace; absent at first."),
    "vedette_disk_wear_ratio": Metric("gauge", (), "Share of the disk's life that is used up, where it says so."),
    "vedette_temperature_celsius": Metric("gauge", (), "Of the processor, where it is measured."),
    "vedette_throttled": Metric("gauge", (), "1 while heat or a weak supply slows the processor, where it is known."),
    "vedette_under_voltage": Metric("gauge", (), "1 while the supply is too weak, where it is known."),
    "vedette_web_streams": Metric("gauge", (), "Pages that are live now."),
    "vedette_web_slow_total": Metric("counter", (), "Live pages that were dropped because they took nothing."),
    "vedette_web_requests_total": Metric("counter", ("status",), "Requests answered."),
}
CHANNELS = 20_000  # rows of channels, at most
AT_ONCE = 100  # channels, about a millisecond


async def text(desk: Desk, streams: Streams, requests: Mapping[int, int]) -> str:
    """All metrics now. The judge has its turn after every few channels."""
    rows: dict[str, list[str]] = {name: [] for name in METRICS}

    def put(name: str, value: float, *labels: str) -> None:
        if not math.isnan(value):
            rows[name].append(f"{name}{_labels(METRICS[name].labels, labels)} {_number(value)}\n")

    site, at = desk.config.site, desk.clock.now()
    put("vedette_info", 1, site.name, site.node, __version__, desk.outbox.boot, desk.config.hash)
    put("vedette_clock_synced", at.synced)
    wanted = glance.names(desk)[:CHANNELS]
    for begin in range(0, len(wanted), AT_ONCE):
        for one in glance.those(desk, wanted[begin : begin + AT_ONCE]):
            put("vedette_channel_value", one.value, one.channel, one.unit)
            put("vedette_channel_quality", one.quality, one.channel)
            put("vedette_channel_age_seconds", round(one.age, 3), one.channel)
        await asyncio.sleep(0)
    alarms = open_alarms(desk.memory)
    counted = {(level, state): 0 for level in LEVELS for state in STATE_NAMES[1:]}
    for alarm in alarms:
        counted[alarm.level, alarm.state] += 1
        if alarm.state.startswith("active"):
            put("vedette_alarm_active", 1, alarm.rule, alarm.channel, alarm.level)
    for (level, state), n in counted.items():
        put("vedette_alarms", n, level, state)
    for branch in _all(glance.branches(desk)):
        put("vedette_item_colour", shade(branch.colour), branch.name)
    load = glance.load(desk)
    put("vedette_alarms_raised_total", desk.memory.serial)
    put("vedette_alarms_raised_10m", load.in_10_min)
    put("vedette_alarms_stale", load.stale)
    put("vedette_alarms_chattering", load.chattering)
    put("vedette_alarms_flood", load.flood)
    put("vedette_alarms_top_ten_ratio", load.top_share / 100)
    for line, tally in desk.tallies.items():
        for fared in tally.devices:
            put("vedette_device_up", not fared.lost, line, fared.device)
            put("vedette_device_requests", fared.asked, line, fared.device)
            for kind, n in (("silent", fared.silent), ("garbled", fared.garbled), ("refused", fared.refused)):
                put("vedette_device_errors", n, line, fared.device, kind)
            put("vedette_device_round_trip_seconds", fared.mean, line, fared.device)
    for link in glance.links(desk):
        put("vedette_uplink_up", link.state == "up", link.name)
        for lane in link.lanes:
            put("vedette_uplink_waiting", lane.waiting, link.name, lane.name)
            put("vedette_uplink_oldest_seconds", round(lane.oldest, 1), link.name, lane.name)
            put("vedette_uplink_dropped_total", lane.dropped, link.name, lane.name)
    put("vedette_journal_records", desk.audit.head[0])
    put("vedette_journal_lost_total", desk.audit.lost)
    for file in ("alarms", "history", "journal"):
        put(
            "vedette_store_trouble",
            bool(desk.audit.trouble if file == "journal" else desk.outbox.trouble.get(file)),
            file,
        )
    vitals = glance.health(desk)
    for name, key, factor in (
        ("vedette_loop_lag_seconds", "loop_lag", 1.0),
        ("vedette_judge_queue", "judge_queue", 1.0),
        ("vedette_orders_unmet", "orders_unmet", 1.0),
        ("vedette_restarts_total", "restarts", 1.0),
        ("vedette_crashes_total", "crashes", 1.0),
        ("vedette_memory_bytes", "memory", 1e6),
        ("vedette_descriptors", "descriptors", 1.0),
        ("vedette_disk_free_ratio", "disk_free", 0.01),
        ("vedette_judge_wait_seconds", "wait_p99", 1.0),
        ("vedette_commit_seconds", "commit_worst", 1.0),
        ("vedette_write_errors", "write_errors", 1.0),
        ("vedette_memory_limit_ratio", "memory_share", 0.01),
        ("vedette_descriptors_limit_ratio", "descriptors_share", 0.01),
        ("vedette_starts_24h", "starts_24h", 1.0),
        ("vedette_children_died", "children_died", 1.0),
        ("vedette_disk_full_seconds", "disk_full_in", 3600.0),
        ("vedette_disk_wear_ratio", "disk_wear", 0.01),
        ("vedette_temperature_celsius", "temperature", 1.0),
        ("vedette_throttled", "throttled", 1.0),
        ("vedette_under_voltage", "under_voltage", 1.0),
    ):
        put(name, factor * vitals.get(key, math.nan))
    put("vedette_web_streams", streams.open)
    put("vedette_web_slow_total", streams.dropped)
    for status, n in sorted(requests.items()):
        put("vedette_web_requests_total", n, str(status))
    out: list[str] = []
    for name, metric in METRICS.items():
        if rows[name]:
            out += [f"# HELP {name} {metric.help}\n", f"# TYPE {name} {metric.kind}\n", *rows[name]]
    return "".join(out)


def not_ready(desk: Desk) -> list[str]:
    """What keeps hazards from being seen or told, a line each; empty: nothing."""
    why = []
    unseen = [source for source in glance.sources(desk) if not desk.core.is_sighted(desk.memory, [source])]
    if unseen:
        why.append(f"not read yet: {', '.join(unseen)}")
    old = (Quality.STALE, Quality.OFFLINE)
    blind = [s for s in glance.sources(desk) if np.isin(desk.memory.watches[s].seen.quality, old).all()]
    if blind:
        why.append(f"silent: {', '.join(blind)}")
    for file, trouble in desk.outbox.trouble.items():
        why.append(f"store {file}: {trouble}")
    if desk.audit.trouble:
        why.append(desk.audit.trouble)
    return why


def shade(name: str) -> int:
    """0 none ... 4 red."""
    level: Level | None = next((level for level in LEVELS if level == name), None)
    return colour(level) if level else 0


def _all(branches: Iterable[Branch]) -> Iterable[Branch]:
    for branch in branches:
        yield branch
        yield from _all(branch.items)


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True)) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(float(value)) if not float(value).is_integer() else str(int(value))
