#!/usr/bin/env python3
"""How many instructions it takes from a program's start to the first program of a stock Linux guest.

The lab counts instructions (hack/lab -i): its one processor's clock goes on by a nanosecond with each, whoever runs it,
the monitor, the host's kernel or the guest. While nobody has anything to do it leaps; that does not count.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from common import HACK, MEMORY, BenchError, median, table, title

APPEND = "console=ttyS0 quiet panic=-1 reboot=t"
HELLO = b"GUEST-HELLO"
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo {HELLO.decode()} $(/bin/busybox cut -d ' ' -f 1 /proc/uptime)
/bin/busybox reboot -f
"""


def run(options):
    subprocess.run([HACK / "deps", "kernel", "guest", "lab"], check=True)
    told = subprocess.run([HACK / "fetch-kernel"], check=True, stdout=subprocess.PIPE, text=True).stdout
    kernel = dict(line.split("=", 1) for line in told.splitlines())
    initrd = options.work / "initrd"
    initrd.write_bytes(make_initrd())
    runs = options.runs or 3
    # A copy, since a binary that is built anew meanwhile would be lost to the lab.
    binary = options.work / "apus"
    shutil.copy(options.apus, binary)
    order = options.work / "order"
    order.write_text(json.dumps({"runs": runs, "programs": programs(binary, kernel, initrd)}))
    command = [HACK / "lab", "-i", "-t", str(600 + 300 * runs), sys.executable, __file__, order]
    print(f"bench: booting {4 * runs} guests in the lab, which takes minutes", file=sys.stderr)
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    results = json.loads(told.splitlines()[-1])

    title(f"boot: Linux {kernel['KERNEL_VERSION']} with {MEMORY} MiB to its first program; {runs} runs each, in turns")
    print("Instructions of the program, its host's kernel and the guest together:")
    rows = []
    for name, counts in results.items():
        ours = median(results["Apus" + name[name.index(",") :]])
        rows.append((name, median(counts) / 1e9, max(counts) / 1e9, median(counts) / ours))
    table([("10^9", 3), ("most", 3), ("/ Apus's", 2)], rows)


def programs(binary, kernel, initrd):
    found = {}
    for form, image in (("bzImage", kernel["VMLINUZ"]), ("ELF", kernel["VMLINUX"])):
        boot = ["-kernel", image, "-initrd", str(initrd), "-append", APPEND, "-m", str(MEMORY), "-smp", "1"]
        found[f"Apus, {form}"] = [str(binary), "-machine", "microvm", *boot, "-serial", "stdio"] + [
            *("-qmp", "unix:/tmp/qmp,server,nowait")
        ]
        found[f"QEMU microvm, {form}"] = [
            "qemu-system-x86_64",
            "-machine",
            "microvm,accel=kvm",
            "-cpu",
            "host",
            *boot,
        ] + [
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-qmp", "unix:/tmp/qmp,server,nowait"),
        ]
    return found


def make_initrd():
    """An archive as the kernel unpacks it (cpio, newc), with a shell and a first program that says hello."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise BenchError("no busybox")
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "proc", "sys", "dev")]
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes()))
    entries.append(("init", stat.S_IFREG | 0o755, INIT.encode()))
    archive = b""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0]
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return archive


def inside(order):
    """What runs in the lab: boots the programs in turns and prints how many instructions each run took."""
    results = {name: [] for name in order["programs"]}
    # What they read is in the page cache before anything is counted.
    for command in order["programs"].values():
        subprocess.run([command[0], "-version"], check=True, stdout=subprocess.DEVNULL)
        for word in command:
            if os.path.isfile(word):
                Path(word).read_bytes()
    for _ in range(order["runs"]):
        for name, command in order["programs"].items():
            results[name].append(boot(name, command))
            print(f"bench: {name}: {results[name][-1] / 1e9:.3f}", file=sys.stderr, flush=True)
    print(json.dumps(results))


def boot(name, command):
    idle, began = idle_time(), time.monotonic_ns()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as monitor:
        seen = b""
        while HELLO not in seen:
            data = os.read(monitor.stdout.fileno(), 1 << 16)
            if not data:
                sys.exit(f"bench: {name} ended without a word from the guest's first program: {seen[-2000:]}")
            seen += data
        took = time.monotonic_ns() - began - (idle_time() - idle)
        monitor.kill()
    return took


def idle_time():
    """For how long the processor has had nothing to do since the start, or waited for a file, in ns."""
    _, _, _, _, idle, waiting, *_ = Path("/proc/stat").read_text().split("\n")[0].split()
    return (int(idle) + int(waiting)) * 10**9 // os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    inside(json.loads(Path(sys.argv[1]).read_text()))
