"""How soon a machine can be driven: from the execution of its program to a QMP client's connection, and to its answer.

Who starts a machine tries its socket at once, and when nobody listens there yet, waits before it tries again: Kata
Containers' driver for 50 ms, which a sandbox's start then takes longer. So what counts is the slowest of many starts.
"""

import os
import socket
import time

from common import IDLE, BenchError, apus, make_kernel, percentile, qemu, require_kvm, table, title

# Between two attempts: short beside what is measured, long enough to leave the processor to others.
PAUSE = 0.0001
RETRY = 50  # ms, of Kata's driver


def run(options):
    require_kvm()
    runs = options.runs or 200
    kernel = make_kernel(options.work / "idle.elf", IDLE)
    disk = options.work / "disk"
    disk.write_bytes(bytes(1 << 20))
    programs = {
        "Apus": apus(
            options, kernel, "-drive", f"id=root,file={disk},direct=off", "-device", "virtio-blk-device,drive=root"
        ),
        "QEMU microvm": qemu(options, kernel, "-drive", f"id=root,file={disk},if=none,format=raw")
        + ["-device", "virtio-blk-device,drive=root"],
    }
    results = {name: [] for name in programs}
    for number in range(runs + 1):
        for name, command in programs.items():
            result = start(command, options.work / "qmp")
            # The first round only fills the page cache.
            if number:
                results[name].append(result)

    title(f"connect: a guest of 256 MiB with a disk; {runs} starts each, in turns")
    for text, index in (("a connection", 0), ("the answer to qmp_capabilities", 1)):
        print(f"Wall time in ms from the program's execution to {text}:")
        rows = []
        for name, times in results.items():
            values = [pair[index] for pair in times]
            rows.append((name, *(percentile(values, share) for share in (0.5, 0.9, 0.99, 1))))
        table([("p50", 2), ("p90", 2), ("p99", 2), ("max", 2)], rows)
    late = {name: sum(pair[0] > RETRY for pair in times) for name, times in results.items()}
    told = ", ".join(f"{name} {count}" for name, count in late.items())
    print(f"Starts that a client which tries again after {RETRY} ms would find not listening even then: {told}")


def start(command, path):
    """Wall time, in ms, to a connection and to the end of its negotiation."""
    path.unlink(missing_ok=True)
    null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
    # It returns when the program has been executed.
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=null)
    began = time.monotonic()
    try:
        with connected(path, began, command[0]) as client:
            took = time.monotonic() - began
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(b'{"execute":"qmp_capabilities"}\n')
            if b'"return"' not in lines.readline():
                raise BenchError(f"{command[0]} does not negotiate")
            return took * 1e3, (time.monotonic() - began) * 1e3
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)


def connected(path, began, name):
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(20)
            client.connect(str(path))
            return client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            if time.monotonic() > began + 20:
                raise BenchError(f"{name} does not listen") from None
        time.sleep(PAUSE)
