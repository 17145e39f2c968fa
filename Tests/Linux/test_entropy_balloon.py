"""What a guest gets of the host and gives back: random bytes, and memory, as the host sees it."""

import os
import re
import time

from guest import PATIENCE, Guest
from harness import limit

MIB = 1 << 20
MEMORY = 224 * MIB
# What the guest makes do with when its balloon is blown up.
SMALL = 128 * MIB


def resident(guest):
    """How much memory the machine takes of the host."""
    with open(f"/proc/{guest.process.pid}/smaps_rollup") as file:
        return int(re.search(r"^Rss: *(\d+) kB", file.read(), re.MULTILINE).group(1)) << 10


def memory_flags(guest):
    """The kernel's flags of the mapping that is the guest's memory."""
    assert guest.qmp.execute("query-status")["running"]
    with open(f"/proc/{guest.process.pid}/smaps") as file:
        text = file.read()
    for mapping in re.findall(r"^[0-9a-f]+-[0-9a-f]+ .*?^VmFlags: [^\n]*$", text, re.MULTILINE | re.DOTALL):
        size = int(re.search(r"^Size: *(\d+) kB", mapping, re.MULTILINE).group(1)) << 10
        if size == MEMORY:
            return re.search(r"^VmFlags: (.*)$", mapping, re.MULTILINE).group(1).split()
    raise AssertionError("there is no mapping of the size of the guest's memory")


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


def actual(guest):
    return guest.qmp.execute("query-balloon")["actual"]


def balloon(guest, value):
    """Moves the balloon, and waits until the guest has followed."""
    guest.qmp.execute("balloon", {"value": value})
    wait_until(lambda: actual(guest) == value, f"the balloon goes to {value >> 20} MiB")


def check_statistics(guest):
    """The guest's own figures, as QEMU names them."""
    total = int(guest.shell("awk '/^MemTotal:/ { print $2 }' /proc/meminfo")) << 10
    answer = guest.qmp.execute("query-balloon")
    told = answer["stats"]
    assert abs(answer["last-update"] - time.time()) < 60, answer
    assert told["stat-total-memory"] == total, (told, total)
    assert 0 < told["stat-free-memory"] < total and told["stat-major-faults"] >= 0, told


def check_reports(guest):
    """Memory that the guest frees comes back by itself, as far as it is free in large pieces."""
    guest.shell("dd if=/dev/zero of=/tmp/fill bs=1M count=72 2>/dev/null")
    full = resident(guest)
    guest.shell("rm /tmp/fill")
    wait_until(lambda: resident(guest) < full - 32 * MIB, "the host gets back what the guest has freed")


def check_balloon(guest):
    """Memory that the guest keeps for caches comes back by command, and the guest may have it again."""
    events = []
    guest.shell("cat /dev/vda >/dev/null")
    full = resident(guest)
    # The machine pauses while the guest gives memory up: nothing moves.
    guest.qmp.execute("balloon", {"value": SMALL})
    guest.qmp.execute("stop")
    before = actual(guest), resident(guest)
    time.sleep(0.5)
    assert (actual(guest), resident(guest)) == before
    guest.qmp.execute("cont")
    wait_until(lambda: actual(guest) == SMALL, "the guest gives memory up")
    assert resident(guest) < full - 32 * MIB, (full >> 20, resident(guest) >> 20)
    # The last event tells the last size, and there is one a second at most.
    while not events or events[-1]["data"]["actual"] != SMALL:
        events.append(guest.qmp.wait_event("BALLOON_CHANGED"))
    times = [event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6 for event in events]
    assert all(later - earlier > 0.99 for earlier, later in zip(times, times[1:])), times

    # More than all is all.
    guest.qmp.execute("balloon", {"value": 1 << 60})
    wait_until(lambda: actual(guest) == MEMORY, "the balloon is empty")


def check_shortage(guest):
    """Who needs more than there is takes it out of the balloon (deflate-on-oom), and nobody is killed."""
    balloon(guest, SMALL)
    guest.shell("dd if=/dev/zero of=/tmp/fill bs=1M count=64 2>/dev/null")
    wait_until(lambda: actual(guest) > SMALL, "the guest takes memory back")
    guest.shell("rm /tmp/fill; ! dmesg | grep -i 'killed process'")


def make_guest(work, machine, *more):
    disk = work / "disk"
    disk.write_bytes(b"")
    os.truncate(disk, 96 * MIB)
    options = ["-device", "virtio-balloon-device,deflate-on-oom=true,free-page-reporting=true", *more]
    return Guest(work, *options, machine=machine, memory="224M", disks=[f"file={disk},direct=off,readonly=on"])


def finish(guest):
    guest.type("exit\n")
    assert guest.wait() == 0
    assert "WARN" not in guest.errors and "ERROR" not in guest.errors, guest.errors


@limit(400)
def test_private_memory_and_entropy(work):
    entropy = ["-object", "rng-random,id=source0", "-device", "virtio-rng-device,rng=source0,max-bytes=2048,period=500"]
    with make_guest(work, "microvm,dump-guest-core=off", *entropy) as guest:
        # A core dump of apus has nothing of the guest's.
        assert "dd" in memory_flags(guest)
        check_entropy(guest)
        check_statistics(guest)
        check_reports(guest)
        check_balloon(guest)
        check_shortage(guest)
        finish(guest)


def check_entropy(guest):
    """4096 bytes a second come, and they are random; a pause does no harm."""
    assert "virtio_rng" in guest.shell("cat /sys/class/misc/hw_random/rng_current")
    read = "dd if=/dev/hwrng of=/tmp/random bs=64 iflag=fullblock count={} 2>/dev/null"
    # First what idle time has saved.
    clock = "read now _ </proc/uptime; echo $now"
    told = guest.shell(f"{read.format(64)}; {clock}; {read.format(384)}; {clock}")
    start, end = map(float, told.split())
    assert 5.8 < end - start < 8, end - start
    sizes = guest.shell("wc -c </tmp/random; gzip -c /tmp/random | wc -c").split()
    assert int(sizes[0]) == 24576 and int(sizes[1]) > 24000, sizes
    guest.type(f"{read.format(128)}; echo HAVE''-READ\n")
    guest.qmp.execute("stop")
    time.sleep(0.5)
    guest.qmp.execute("cont")
    guest.expect(r"^HAVE-READ\n")
    assert guest.shell("wc -c </tmp/random").strip() == "8192"


@limit(400)
def test_shared_memory(work):
    with make_guest(work, "microvm,mem-share=on") as guest:
        assert "dd" not in memory_flags(guest)
        check_statistics(guest)
        check_reports(guest)
        check_balloon(guest)
        finish(guest)


@limit(400)
def test_balloon_that_moves_by_itself(work):
    """What the guest does not need goes back without a word, and it gets what it needs."""
    device = "virtio-balloon-device,deflate-on-oom=true,auto-balloon=true,membuf-percent=20,monitor-interval=5"
    with Guest(work, "-device", device, memory="512M") as guest:
        guest.shell("dd if=/dev/zero of=/tmp/fill bs=1M count=192 2>/dev/null")
        full = resident(guest)
        guest.shell("rm /tmp/fill")
        wait_until(lambda: resident(guest) < full - 128 * MIB, "the host gets back what the guest has freed")
        settled = settle(guest)
        assert settled < 384 * MIB, settled >> 20
        # It needs more than its buffer, and gets a buffer beside that.
        guest.shell("dd if=/dev/zero of=/tmp/fill bs=1M count=128 2>/dev/null")
        wait_until(lambda: actual(guest) > settled + 96 * MIB, "the guest gets memory back")
        guest.shell("! dmesg | grep -i 'killed process'")
        large = settle(guest)
        # It goes on after a pause in which it would have looked.
        guest.qmp.execute("stop")
        time.sleep(6)
        guest.qmp.execute("cont")
        guest.shell("rm /tmp/fill")
        wait_until(lambda: actual(guest) < large - 64 * MIB, "the balloon grows again")
        finish(guest)


def settle(guest):
    """Waits until the balloon has not moved for longer than it takes to look; what the guest makes do with then."""
    while True:
        before = actual(guest)
        time.sleep(8)
        if actual(guest) == before:
            return before
