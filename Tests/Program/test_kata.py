"""Kata Containers' driver, played with guests of a few bytes: what needs no Linux."""

import contextlib
import os
import statistics
import time
from pathlib import Path

from kata import Client, Sandbox, open_tap
from tiny import IDLE, SPIN, QMPError, Tiny, gone, threads


def files(work, code=SPIN):
    """A kernel and an initrd, by their keywords, and an image."""
    _, kernel, _, initrd = Tiny.files(work, code)
    image = Path(work) / "rootfs"
    image.write_bytes(bytes(1 << 20))
    return kernel, initrd, image


def refused(sandbox, *arguments, **more):
    try:
        sandbox.hotplug(*arguments, **more)
    except QMPError as error:
        return str(error)
    raise AssertionError(f"{arguments} was not refused")


def test_the_whole_life_of_a_sandbox(work):
    kernel, initrd, image = files(work)
    disk = work / "volume"
    disk.write_bytes(bytes(1 << 20))
    for debug in False, True:
        taps = [open_tap(), open_tap()]
        with Sandbox(
            work, kernel, initrd=initrd, image=image, debug=debug, cpus=2, taps=[[tap] for tap in taps]
        ) as sandbox:
            for tap in taps:
                os.close(tap)
            sandbox.start_vm()
            assert [os.readlink(f"/proc/{sandbox.pid}/fd/{number}") for number in (3, 4)] == ["/dev/net/tun"] * 2

            # Each vCPU on a processor of its own, where there are as many.
            found = sandbox.thread_ids()
            assert list(found) == [0, 1], found
            processors = sorted(os.sched_getaffinity(0))
            for cpu, thread in found.items():
                os.sched_setaffinity(thread, {processors[cpu % len(processors)]})
                assert os.sched_getaffinity(thread) == {processors[cpu % len(processors)]}
            names = threads(sandbox.pid)
            assert [names[thread] for thread in found.values()] == ["CPU 0/KVM", "CPU 1/KVM"], names

            # A volume in each place, and again; a sandbox has several at once.
            for letter in "bcdb":
                sandbox.hotplug(f"drive-{letter}", disk, letter)
                sandbox.unplug(f"drive-{letter}")
            sandbox.hotplug("drive-x", disk, "c", read_only=True, sector_sizes=(512, 4096))

            if debug:
                with sandbox.console():
                    sandbox.thread_ids()
            assert "INFO machine: running" in sandbox.errors, "-D without a file is standard error"
            assert "ERROR" not in sandbox.errors and "WARN" not in sandbox.errors, sandbox.errors
            sandbox.stop_vm()
            assert gone(sandbox.pid)


def test_what_fails_leaves_nothing(work):
    """What Kata does when a volume cannot be plugged in: it takes the node away, and may try again elsewhere."""
    kernel, initrd, image = files(work, IDLE)
    disk, other = work / "volume", work / "other"
    for file in disk, other:
        file.write_bytes(bytes(1 << 20))
    with Sandbox(work, kernel, initrd=initrd, image=image) as sandbox:
        sandbox.start_vm()
        assert "slot 0 is occupied" in refused(sandbox, "drive-a", disk, "a")
        assert "there is no slot 4" in refused(sandbox, "drive-e", disk, "e")
        assert "No such file" in refused(sandbox, "drive-f", work / "none", "b")
        sandbox.hotplug("drive-a", disk, "b")
        assert "slot 1 is occupied" in refused(sandbox, "drive-b", other, "b")
        sandbox.unplug("drive-a")
        try:
            sandbox.unplug("drive-a")
        except QMPError as error:
            assert "drive-a not found" in str(error)
        else:
            raise AssertionError("a device that is not there was unplugged")
        sandbox.stop_vm()


def test_the_first_connection(work):
    """From the execution on, tried as Kata does, at once and each 50 ms."""
    kernel, initrd, image = files(work)
    attempts, times = [], []
    for _ in range(20):
        with Sandbox(work, kernel, initrd=initrd, image=image) as sandbox:
            attempts.append(sandbox.start_vm())
            times.append(time.monotonic() - sandbox.started)
    # On a busy machine one of them may take longer.
    assert statistics.median(attempts) <= 2, (attempts, times)


def test_a_client_that_hangs_up_before_it_is_greeted(work):
    """The connection of `waitVM` ends as soon as it is there, and there may be one after it at once."""
    kernel, initrd, _ = files(work)
    with Sandbox(work, kernel, initrd=initrd) as sandbox:
        sandbox.start_vm()
        for _ in range(50):
            with contextlib.closing(Client(sandbox.qmp_path)):
                assert sandbox.thread_ids()
