"""Disks that are limited, and disks that keep their own thread busy while the rest of the machine goes on."""

import os
import time
from pathlib import Path

from guest import Guest
from harness import limit

MIB = 1 << 20


def threads(guest):
    """The names of the process's threads, by their numbers."""
    return {int(task.name): (task / "comm").read_text().strip() for task in Path(f"/proc/{guest.process.pid}/task").iterdir()}


@limit(400)
def test_limits_and_iothreads(work):
    for name in ("slow", "limited", "fast"):
        (work / name).write_bytes(b"")
        os.truncate(work / name, 64 * MIB)
    disks = [
        f"file={work}/slow,direct=off,throttling.iops-total=1",
        f"file={work}/limited,direct=off,throttling.iops-total=200",
        (f"file={work}/fast,direct=off", "iothread=io-of-a-disk"),
    ]
    options = ["-object", "iothread,id=io-of-a-disk", "-object", "iothread,id=idle"]
    with Guest(work, *options, disks=disks, cpus=2) as guest:
        check_threads(guest)
        check_limits(guest)
        check_answers(guest)
        guest.type("exit\n")
        assert guest.wait() == 0
        assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors


def check_threads(guest):
    """Each iothread is a thread of its name, and QMP says which."""
    told = {thread["id"]: thread["thread-id"] for thread in guest.qmp.execute("query-iothreads")}
    names = threads(guest)
    assert {name: names[number] for name, number in told.items()} == {"io-of-a-disk": "io-of-a-disk", "idle": "idle"}, told
    assert sorted(name for name in names.values() if name.startswith("CPU")) == ["CPU 0/KVM", "CPU 1/KVM"], names


def check_limits(guest):
    """On average over ten seconds each limited disk does what it may, within two per cent."""
    # What idle time has saved comes first. The faster disk is asked for many blocks at a time, to be read one by one,
    # and never left without: that takes little of a guest that is slow itself.
    guest.shell("echo 4 >/sys/class/block/vdb/queue/max_sectors_kb")
    guest.shell("fetch() { dd if=/dev/$1 of=/dev/null iflag=direct bs=$2 count=$3 2>/dev/null; }")
    guest.shell("slow() { fetch vda 4k $1; read -r now _ </proc/uptime; echo $now >>/tmp/vda; }")
    guest.shell("fast() { fetch vdb 400k $1 & fetch vdb 400k $1; wait; read -r now _ </proc/uptime; echo $now >>/tmp/vdb; }")
    # A guest that its host stops for a while loses what it does not ask for meanwhile: then once more.
    for _ in range(8):
        guest.shell("rm -f /tmp/vd?; (slow 1; slow 10) & (fast 1; fast 10) & wait")
        slow, fast = ([float(line) for line in guest.shell(f"cat /tmp/{name}").split()] for name in ("vda", "vdb"))
        seconds = slow[1] - slow[0], fast[1] - fast[0]
        print("ten seconds' worth took", seconds)
        assert min(seconds) >= 9.8, seconds
        if max(seconds) <= 10.2:
            return
    raise AssertionError(f"the limits are missed: {seconds}")


def check_answers(guest):
    """QMP answers while a disk's thread has all it can do."""
    read = "dd if=/dev/vdc of=/dev/null iflag=direct bs=64k 2>/dev/null"
    guest.shell(f"(while [ ! -e /tmp/end ]; do {read} & {read} & {read} & {read}; wait; done; echo ALL''-DONE) & true")
    guest.listen(1)
    before = disk_time(guest)
    times = []
    for _ in range(100):
        started = time.monotonic()
        guest.qmp.execute("query-status")
        times.append(time.monotonic() - started)
        time.sleep(0.02)
    assert disk_time(guest) > before, "the disk does nothing"
    times.sort()
    print(f"QMP under load: median {1e3 * times[50]:.1f} ms, longest {1e3 * times[-1]:.1f} ms")
    assert times[50] < 0.1 and times[-1] < 1, times
    guest.shell("touch /tmp/end")
    guest.expect(r"ALL-DONE\n")


def disk_time(guest):
    """Processor time, in ticks, of the thread that serves the fast disk."""
    [number] = [number for number, name in threads(guest).items() if name == "io-of-a-disk"]
    stat = Path(f"/proc/{guest.process.pid}/task/{number}/stat").read_text().rsplit(")", 1)[1].split()
    return int(stat[11]) + int(stat[12])
