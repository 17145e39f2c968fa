#!/usr/bin/env python3
"""Streams through a network card, each way.

First without a guest: the device alone, with a driver and its peer on another thread of the same process, and a tap in
a network namespace. Then a TCP stream by iperf3: a stock Linux in the lab has one NIC on a tap, served by Apus and by
QEMU's microvm, in user space and by the kernel's vhost-net. Once by the clock, and once with counted instructions (see
boot.py), those of both ends of the stream, of the monitor and of the host's kernel together.
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
HOST, GUEST = "192.168.79.1", "192.168.79.2"
TAP = "apbench0"
APPEND = f"console=ttyS0 loglevel=5 panic=-1 noxsave apus.run=iperf-server:{GUEST}"


def run(options):
    without_guest(options.runs or 5)
    with_guest(options)


def without_guest(rounds):
    """The device alone."""
    lay = 'ip tuntap add dev "$2" mode tap vnet_hdr && ip link set "$2" up && exec "$0" "$@"'
    lead = ["unshare", "--net", "sh", "-c", lay] if os.geteuid() == 0 and os.path.exists("/dev/net/tun") else []
    middle = alone("NetworkBenchmark", *lead, "NetworkBenchmark", "1024", *([TAP] if lead else []), rounds=rounds)
    title(
        f"network: the device alone on {'a tap' if lead else 'a pair of sockets'}, 1 GiB a stream; medians of {rounds}"
    )
    table(
        [("frames/s", 0), ("MiB/s", 0), ("CPU s/GiB", 3), ("calls/frame", 3), ("interrupts/frame", 4)],
        [(name.replace("-", " "), *values) for name, values in middle.items()],
    )


def with_guest(options):
    """A stock Linux in the lab."""
    subprocess.run([HACK / "deps", "kernel", "guest", "lab", "tools"], check=True)
    subprocess.run([HACK / "images"], check=True)
    # A copy, since a binary that is built anew meanwhile would be lost to the lab.
    binary = options.work / "apus"
    shutil.copy(options.apus, binary)
    print("bench: streams with guests in the lab, which takes minutes", file=sys.stderr)
    found = {}
    # Counted instructions come out alike each time.
    for name, counted, rounds in (("clock", [], str(options.runs or 3)), ("instructions", ["-i"], "1")):
        command = [HACK / "lab", *counted, "-m", "4096", "-t", "3600", sys.executable, __file__, binary, rounds]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(told.splitlines()[-1])
    title(f"network: one TCP stream of {AMOUNT // MIB} MiB, Linux in the lab; instructions of all together")
    rows = []
    for kind, clock in found["clock"].items():
        counts = found["instructions"][kind]
        values = [AMOUNT / MIB / (time / 1e9) for time in clock]
        # Beside the other program's where the packets take the same way.
        peer = "QEMU" + kind.removeprefix("Apus") if kind.startswith("Apus") else None
        ratios = [theirs / ours for theirs, ours in zip(found["clock"][peer], clock)] if peer else [None, None]
        values += [count * 1024 * MIB / AMOUNT / 1e9 for count in counts]
        fewer = [theirs / ours for theirs, ours in zip(found["instructions"][peer], counts)] if peer else [None, None]
        rows.append((kind, *values[:2], *ratios, *values[2:], *fewer))
    table(
        [
            ("MiB/s to guest", 1),
            ("to host", 1),
            ("/ QEMU's", 2),
            ("/ QEMU's", 2),
            ("10^9/GiB to guest", 2),
            ("to host", 2),
            ("QEMU's /", 2),
            ("QEMU's /", 2),
        ],
        rows,
    )


def programs(binary, work):
    images = TOP / ".build/images"
    boot = ["-kernel", images / "vmlinuz", "-initrd", images / "initramfs", "-append", APPEND, "-m", "256", "-smp", "1"]
    disk = f"id=tools,file={images / 'tools.ext4'}"
    net = f"tap,id=net0,ifname={TAP}"
    card = "virtio-net-device,netdev=net0,id=nic0"
    apus = [binary, "-machine", "microvm", *boot, "-qmp", f"unix:{work}/qmp,server,nowait", "-serial", "stdio"]
    apus += ["-drive", f"{disk},readonly=on,direct=off", "-device", "virtio-blk-device,drive=tools", "-device", card]
    qemu = ["qemu-system-x86_64", "-machine", "microvm,accel=kvm", "-cpu", "host", *boot, "-nodefaults"]
    qemu += ["-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    qemu += ["-drive", f"{disk},if=none,readonly=on,format=raw", "-device", "virtio-blk-device,drive=tools"]
    qemu += ["-device", card]
    found = {}
    for name, program, more in (("Apus", apus, ""), ("QEMU microvm", qemu, ",script=no,downscript=no")):
        for way, vhost in ((", user space", "off"), (", vhost-net", "on")):
            command = [str(word) for word in [*program, "-netdev", f"{net},vhost={vhost}{more}"]]
            found[name.removesuffix(" microvm") + way] = command
    return found


def inside(binary, rounds):
    """What runs in the lab: prints, for each program, the nanoseconds of a stream to the guest and of one from it."""
    subprocess.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr"], check=True)
    subprocess.run(["ip", "addr", "add", f"{HOST}/24", "dev", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
    with tempfile.TemporaryDirectory() as work:
        commands = programs(binary, work)
        results = {name: [] for name in commands}
        for _ in range(int(rounds)):
            for name, command in commands.items():
                with open(f"{work}/log", "w+b") as log:
                    monitor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                    try:
                        wait_for_guest(monitor, name, log)
                        results[name].append([stream(), stream("-R")])
                    finally:
                        monitor.kill()
                        monitor.wait()
                print(f"bench: {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    print(json.dumps({name: [median(column) for column in zip(*values)] for name, values in results.items()}))


def wait_for_guest(monitor, name, log):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if monitor.poll() is not None:
            sys.exit(f"bench: {name} ended: {os.pread(log.fileno(), 1 << 16, 0).decode(errors='replace')[-2000:]}")
        try:
            # The server takes it for a client that has thought better of it.
            socket.create_connection((GUEST, 5201), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit(
        f"bench: {name}'s guest does not answer: {os.pread(log.fileno(), 1 << 16, 0).decode(errors='replace')[-2000:]}"
    )


def stream(*words):
    """For how long somebody was at work while iperf3 ran, in ns."""
    idle, began = idle_time(), time.monotonic_ns()
    command = ["iperf3", "-c", GUEST, "-n", str(AMOUNT), "-J", *words]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1800)
    took = time.monotonic_ns() - began
    if told.returncode:
        sys.exit(f"bench: iperf3 failed: {told.stdout[-2000:]}")
    if os.cpu_count() == 1:
        return took - (idle_time() - idle)
    end = json.loads(told.stdout)["end"]["sum_received"]
    return end["seconds"] * 1e9 * AMOUNT / end["bytes"]


if __name__ == "__main__":
    inside(*sys.argv[1:])
