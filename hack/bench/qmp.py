#!/usr/bin/env python3
"""How long a QMP client waits for the answer to `query-status`, while the same thread serves a busy disk and a busy card.

A stock Linux in the lab, served by Apus and by QEMU's microvm in user space, without an iothread: what the guest asks
for stands in the same line as what the client asks for.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import HACK, percentile, table, title

TOP = HACK.parent
HOST, GUEST = "192.168.79.1", "192.168.79.2"
TAP = "apbench0"
TRIPS = 1000
# Between two of them, so that a client's own haste is no load.
PAUSE = 0.002


def run(options):
    subprocess.run([HACK / "deps", "kernel", "guest", "lab", "tools"], check=True)
    subprocess.run([HACK / "images"], check=True)
    # A copy, since a binary that is built anew meanwhile would be lost to the lab.
    binary = options.work / "apus"
    shutil.copy(options.apus, binary)
    print("bench: QMP beside busy guests in the lab, which takes minutes", file=sys.stderr)
    command = [HACK / "lab", "-m", "4096", "-t", "1800", sys.executable, __file__, binary]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(told.splitlines()[-1])
    title(f"qmp: wall time of query-status in ms; {TRIPS} each, Linux in the lab")
    rows = []
    for load in next(iter(found.values())):
        for name, times in found.items():
            values = [percentile(times[load], share) for share in (0.5, 0.99, 1)]
            ratio = percentile(found["QEMU"][load], 0.99) / values[1] if name == "Apus" else None
            rows.append((f"{load}: {name}", *values, ratio))
    table([("p50", 2), ("p99", 2), ("max", 2), ("QEMU's p99 /", 2)], rows)


def programs(binary, work):
    images = TOP / ".build/images"
    append = f"console=ttyS0 loglevel=5 panic=-1 noxsave apus.run=busy:{GUEST}"
    boot = ["-kernel", images / "vmlinuz", "-initrd", images / "initramfs", "-append", append, "-m", "256", "-smp", "1"]
    boot += ["-qmp", f"unix:{work}/qmp,server,nowait", "-serial", "stdio"]
    # The second's data comes out of the host's cache.
    disks = [("tools", f"{images / 'tools.ext4'},readonly=on"), ("fast", f"{work}/fast")]
    apus, qemu = [binary, "-machine", "microvm", *boot], ["qemu-system-x86_64", "-machine", "microvm,accel=kvm", *boot]
    qemu += ["-cpu", "host", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    for name, file in disks:
        device = ["-device", f"virtio-blk-device,drive={name}"]
        apus += ["-drive", f"id={name},file={file},direct=off", *device]
        qemu += ["-drive", f"id={name},file={file},if=none,format=raw", *device]
    card = ["-device", "virtio-net-device,netdev=net0,id=nic0", "-netdev", f"tap,id=net0,ifname={TAP}"]
    qemu_card = [*card[:-1], f"{card[-1]},script=no,downscript=no,vhost=off"]
    return {"Apus": [str(word) for word in apus + card], "QEMU": [str(word) for word in qemu + qemu_card]}


def inside(binary):
    """What runs in the lab: prints, for each program and each load, the milliseconds of the answers."""
    subprocess.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr"], check=True)
    subprocess.run(["ip", "addr", "add", f"{HOST}/24", "dev", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
    results = {}
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/fast", "wb") as file:
            file.write(os.urandom(32 << 20))
        for name, command in programs(binary, work).items():
            Path(work, "qmp").unlink(missing_ok=True)
            with open(f"{work}/log", "w+b") as log:
                monitor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                try:
                    reach(monitor, 5201, log)
                    results[name] = measure(f"{work}/qmp")
                finally:
                    monitor.kill()
                    monitor.wait()
            print(f"bench: {name} is done", file=sys.stderr, flush=True)
    print(json.dumps(results))


def measure(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        lines = client.makefile("rb")
        lines.readline()
        ask(client, lines, "qmp_capabilities")
        found = {"an idle guest": trips(client, lines)}
        # To the guest: what comes from there is held up by the guest itself, that of the host is not.
        stream = subprocess.Popen(["iperf3", "-c", GUEST, "-t", "600"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(2)
            found["a busy card"] = trips(client, lines)
        finally:
            stream.kill()
            stream.wait()
        socket.create_connection((GUEST, 5202), timeout=30).close()
        time.sleep(2)
        found["a busy disk"] = trips(client, lines)
        return found


def ask(client, lines, command):
    client.sendall(json.dumps({"execute": command}).encode() + b"\n")
    while "return" not in json.loads(lines.readline()):
        pass


def trips(client, lines):
    times = []
    for _ in range(TRIPS):
        began = time.monotonic()
        ask(client, lines, "query-status")
        times.append((time.monotonic() - began) * 1e3)
        time.sleep(PAUSE)
    return times


def reach(monitor, port, log):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and monitor.poll() is None:
        try:
            return socket.create_connection((GUEST, port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
    sys.exit(f"bench: the guest does not answer: {os.pread(log.fileno(), 1 << 16, 0).decode(errors='replace')[-2000:]}")


if __name__ == "__main__":
    inside(*sys.argv[1:])
