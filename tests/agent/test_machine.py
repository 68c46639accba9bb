"""What machines say of themselves, on machines that a test makes of files; and what nobody can say is not said."""

import asyncio
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import child, clock, machine
from agent.machine import FAR, GATHER, Machine, full_in, memory_share

MEMINFO = "MemTotal:       1000000 kB\nMemAvailable:    900000 kB\n"


def put(root: Path, **files: str) -> Path:
    """A machine of these files; `__` in a name is a `/`."""
    for name, text in files.items():
        place = root / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def test_a_machine_without_sensors_says_nothing_rather_than_zero(tmp_path):
    body = Machine(str(tmp_path), tmp_path / "nothing").look(0.0)
    unknown = {name for name, value in body._asdict().items() if math.isnan(value)}
    assert unknown == set(body._fields) - {"disk_free", "disk_free_mb", "inodes_free"}
    assert 0 < body.disk_free < 100


def test_a_raspberry_pi_with_a_weak_supply(tmp_path):
    root = put(
        tmp_path / "pi",
        sys__class__thermal__thermal_zone0__type="cpu-thermal",
        sys__class__thermal__thermal_zone0__temp="81234\n",
        sys__class__thermal__thermal_zone1__type="acpitz",
        sys__class__thermal__thermal_zone1__temp="99000\n",
        sys__class__hwmon__hwmon1__name="rpi_volt\n",
        sys__class__hwmon__hwmon1__in0_lcrit_alarm="0\n",
    )
    firmware = root / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    told = []
    for bits in ("0", "50005", "50000", "80008"):
        (firmware / "get_throttled").write_text(f"{bits}\n")
        body = Machine(str(tmp_path), root).look(0.0)
        told.append((body.temperature, body.under_voltage, body.under_voltage_seen, body.throttled))
    assert told == [(81.234, 0, 0, 0), (81.234, 1, 1, 1), (81.234, 0, 1, 0), (81.234, 0, 0, 1)]
    (root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").write_text("1\n")
    (firmware / "get_throttled").write_text("nonsense")
    assert Machine(str(tmp_path), root).look(0.0).under_voltage == 1


def test_a_processor_that_slowed_down_is_throttled_while_its_counter_moves(tmp_path):
    counter = "sys__devices__system__cpu__cpu0__thermal_throttle__package_throttle_count"
    one = Machine(str(tmp_path), put(tmp_path, **{counter: "17\n"}))
    seen = [one.look(0.0).throttled]
    put(tmp_path, **{counter: "18\n"})
    assert [*seen, one.look(5.0).throttled, one.look(10.0).throttled] == [0, 1, 0]


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, 10.0),
        (
            {
                "proc__self__cgroup": "0::/system.slice/vedette.service\n",
                "sys__fs__cgroup__system.slice__vedette.service__memory.max": "1000000\n",
                "sys__fs__cgroup__system.slice__vedette.service__memory.current": "900000\n",
                "sys__fs__cgroup__system.slice__vedette.service__memory.stat": "anon 400000\ninactive_file 500000\n",
                "sys__fs__cgroup__system.slice__memory.max": "max\n",
            },
            40.0,
        ),
        (
            {  # the tighter one is above
                "proc__self__cgroup": "0::/a/b\n",
                "sys__fs__cgroup__a__b__memory.max": "1000\n",
                "sys__fs__cgroup__a__b__memory.current": "100\n",
                "sys__fs__cgroup__a__memory.max": "1000\n",
                "sys__fs__cgroup__a__memory.current": "950\n",
            },
            95.0,
        ),
        (
            {  # v1, and a limit that is none
                "proc__self__cgroup": "5:memory:/v\n1:cpu:/v\n",
                "sys__fs__cgroup__memory__v__memory.limit_in_bytes": "2000\n",
                "sys__fs__cgroup__memory__v__memory.usage_in_bytes": "1000\n",
                "sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712\n",
                "sys__fs__cgroup__memory__memory.usage_in_bytes": "9\n",
            },
            50.0,
        ),
    ],
    ids=["none", "v2", "parent", "v1"],
)
def test_memory_is_a_share_of_the_tightest_limit_without_what_the_kernel_gives_back(tmp_path, files, share):
    assert memory_share(put(tmp_path, proc__meminfo=MEMINFO, **files)) == pytest.approx(share)


def test_the_disk_says_its_wear_and_its_errors(tmp_path):
    number = os.stat(tmp_path).st_dev
    root = put(
        tmp_path / "m",
        sys__devices__mmc__mmcblk0__device__life_time="0x02 0x09\n",
        sys__devices__mmc__mmcblk0__mmcblk0p2__partition="2\n",
        sys__fs__ext4__mmcblk0p2__errors_count="3\n",
    )
    (root / "sys/dev/block").mkdir(parents=True)
    (root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}").symlink_to(
        root / "sys/devices/mmc/mmcblk0/mmcblk0p2"
    )
    body = Machine(str(tmp_path), root).look(0.0)
    assert (body.disk_wear, body.disk_errors) == (90.0, 3.0)
    put(root, sys__devices__mmc__mmcblk0__device__life_time="0x00 0x00\n")  # it does not know
    assert math.isnan(Machine(str(tmp_path), root).look(0.0).disk_wear)


def test_a_disk_that_fills_is_foretold_and_one_copied_file_is_not():
    hour = [(GATHER * i, 1e6 * i) for i in range(13)]
    assert math.isnan(full_in(hour[:6], 1e9))  # too early to say
    assert full_in(hour, 24e6) == pytest.approx(2.0)
    copied = [(t, 5e9 if t > 1800 else 0.0) for t, _ in hour]
    assert full_in(copied, 1e9) == FAR
    assert full_in([(t, 1e9 - used) for t, used in hour], 1e9) == FAR  # it empties


def test_this_process_is_measured(tmp_path):
    one = Machine(str(tmp_path))
    one.look(0.0)
    body = one.look(1.0)
    assert 5 < body.memory < 2000
    assert 0 < body.memory_share <= 100
    with open(tmp_path / "f", "w"):
        assert one.look(2.0).descriptors == body.descriptors + 1
    assert body.threads >= 1
    assert not math.isnan(body.cpu)
    assert machine.descriptors() == body.descriptors


@pytest.mark.skipif(os.getuid() != 0, reason="hiding most of /proc needs root")
def test_a_service_that_sees_only_processes_knows_the_run_of_its_kernel_by_its_unit():
    """Without it a start after a power cut would take the new kernel's clock for the old one's."""
    unit = (Path(__file__).parents[2] / "systemd" / "vedette.service").read_text()
    assert ("ProcSubset=pid" in unit) <= ("\nEnvironment=VEDETTE_KERNEL=%b\n" in unit)  # %b: boot id, no dashes
    ask = f"{sys.executable} -c 'from agent.clock import kernel; print(kernel())'"
    hidden = ["unshare", "-m", "-p", "-f", "sh", "-c", f"mount -t proc -o subset=pid proc /proc && {ask}"]
    told = clock.kernel()

    def said(**env: str) -> str:
        done = subprocess.run(hidden, env=os.environ | env, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"most of /proc cannot be hidden here: {done.stderr.strip()[-200:]}")
        return done.stdout.strip()

    assert len(told) == 32
    assert (said(), said(VEDETTE_KERNEL=told)) == ("", told)


def test_a_child_that_dies_by_a_signal_of_others_is_counted():
    """The kernel, for want of memory, or a mistake in a decoder; not one that we end, nor one that ends by itself."""

    async def lives(how: str) -> int:
        before = child.died[0]
        async with child.started("tests.tools.doomed", how, ()) as lines:
            assert await lines.readline() == f"{how}\n".encode()
            if how != "wait":
                await lines.read()
        return child.died[0] - before

    assert [asyncio.run(lives(how)) for how in ("quit", "wait", "crash")] == [0, 0, 1]
