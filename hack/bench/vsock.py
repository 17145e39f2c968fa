#!/usr/bin/env python3
"""Streams between programs of the host and of a guest, both ways, and a byte's way there and back.

First without a guest: the device alone, with a driver in the same process, once as it is and once held to one packet a
wake-up. Then with a stock Linux in the lab, served by Apus and by the kernel's vhost-vsock: once by the clock, and once
with counted instructions (see boot.py), those of the host's program, of its kernel, of Apus and of the guest together.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from boot import idle_time
from common import HACK, alone, median, table, title

TOP = HACK.parent
MIB = 1 << 20
AMOUNT = 64 * MIB
TRIPS = 500


def run(options):
    without_guest(options.runs or 5)
    with_guest(options)


def without_guest(rounds):
    """The device alone."""
    middle = alone("VsockBenchmark", "VsockBenchmark", "1024", "20000", rounds=rounds)
    title(f"vsock: the device alone, 1 GiB a stream; medians of {rounds}")
    many, one = middle["host-to-guest"], middle["host-to-guest-by-one"]
    rows = [
        ("host to guest", *many, many[0] / one[0], one[1] / many[1]),
        ("host to guest, one packet a wake-up", *one, 1, 1),
        ("guest to host", *middle["guest-to-host"], None, None),
    ]
    head = [("MiB/s", 0), ("CPU s/GiB", 3), ("interrupts/MiB", 1), ("rate / one's", 2), ("one's CPU /", 2)]
    table(head, rows)
    print(f"A byte there and back: {middle['round-trip'][0]:.1f} µs")


def with_guest(options):
    """A stock Linux in the lab."""
    subprocess.run([HACK / "deps", "kernel", "guest", "lab"], check=True)
    subprocess.run([HACK / "images"], check=True)
    # A copy, since a binary that is built anew meanwhile would be lost to the lab.
    binary = options.work / "apus"
    shutil.copy(options.apus, binary)
    print("bench: streams with guests in the lab, which takes minutes", file=sys.stderr)
    found = {}
    # Counted instructions come out alike each time.
    for name, counted, rounds in (("clock", [], "3"), ("instructions", ["-i"], "1")):
        command = [HACK / "lab", *counted, "-m", "4096", "-t", "1800", sys.executable, __file__, binary, rounds]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(told.splitlines()[-1])
    title(f"vsock: Linux in the lab, {AMOUNT // MIB} MiB a stream, {TRIPS} round trips; instructions of all together")
    rows = []
    for kind, clock in found["clock"].items():
        counts = found["instructions"][kind]
        values = [AMOUNT / MIB / (time / 1e9) for time in clock[:2]]
        values += [count * 1024 * MIB / AMOUNT / 1e9 for count in counts[:2]]
        rows.append((kind, *values, clock[2] / TRIPS / 1e3, counts[2] / TRIPS / 1e3))
    head = [
        ("MiB/s to guest", 0),
        ("to host", 0),
        ("10^9/GiB to guest", 2),
        ("to host", 2),
        ("trip µs", 0),
        ("10^3", 0),
    ]
    table(head, rows)


def inside(binary, rounds):
    """What runs in the lab: prints, for each kind of device, what `streams` tells; the kinds take turns."""
    os.environ["APUS"] = binary
    sys.path[:0] = [str(TOP / "Tests"), str(TOP / "Tests/Linux")]
    from guest import Guest, initramfs_with
    from test_vhost import KernelSockets
    from test_vsock import HybridSockets
    from vsock_cases import guest_runs

    with tempfile.TemporaryDirectory() as work:
        initrd = initramfs_with(work, "vsock")
        kinds = {"Apus": (f"guest-cid=3,socket={work}/v.sock", HybridSockets(f"{work}/v.sock"))}
        if os.path.exists("/dev/vhost-vsock"):
            kinds["vhost-vsock"] = ("guest-cid=4", KernelSockets(4))
        results = {kind: [] for kind in kinds}
        for _ in range(int(rounds)):
            for kind, (keys, host) in kinds.items():
                with Guest(work, "-device", f"vhost-vsock-device,id=v,{keys}", initrd=initrd) as guest:
                    guest_runs(guest, "vsock sink 7000")
                    guest_runs(guest, "vsock echo 7001")
                    results[kind].append(streams(guest, host))
                print(f"bench: {kind}: {results[kind][-1]}", file=sys.stderr, flush=True)
    middle = {kind: [median(column) for column in zip(*values)] for kind, values in results.items()}
    print(json.dumps(middle))


def streams(guest, host):
    """The nanoseconds of a stream to the guest, of one from it, and of the round trips."""
    data = bytes(MIB)

    def to_guest():
        with host.connect(7000) as stream:
            for _ in range(AMOUNT // MIB):
                stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(1) == b""

    def to_host():
        listener = host.listen(7002)
        guest.type(f"vsock source 2 7002 {AMOUNT}\n")
        with listener, listener.accept()[0] as stream:
            room, left = bytearray(1 << 18), AMOUNT
            while left > 0:
                left -= stream.recv_into(room)

    def trips():
        with host.connect(7001) as stream:
            for _ in range(TRIPS):
                stream.sendall(b"x")
                assert stream.recv(1) == b"x"

    return [timed(to_guest), timed(to_host), timed(trips)]


def timed(body):
    """For how long somebody was at work while `body` ran, in ns."""
    idle, began = idle_time(), time.monotonic_ns()
    body()
    took = time.monotonic_ns() - began
    return took if os.cpu_count() > 1 else took - (idle_time() - idle)


if __name__ == "__main__":
    inside(*sys.argv[1:])
