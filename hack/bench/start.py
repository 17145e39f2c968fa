"""How long a machine takes to start, and to end, when its kernel resets it at once."""

import shutil
import socket
import subprocess
import time

from common import (
    HACK,
    RESET,
    BenchError,
    Running,
    apus,
    make_kernel,
    median,
    percentile,
    qemu,
    require_kvm,
    table,
    title,
)

COMPILERS = ("cc", "gcc", "clang")


def run(options):
    require_kvm()
    runs = options.runs or 40
    kernel = make_kernel(options.work / "reset.elf", RESET)
    programs = {
        "Apus": lambda *more: apus(options, kernel, *more),
        # What filters of system calls, Landlock and the loss of privileges cost is the difference.
        "Apus without a shell": lambda *more: apus(options, kernel, "-disable-seccomp", "-sandbox", "off", *more),
        "QEMU microvm": lambda *more: qemu(options, kernel, *more),
    }
    ends = {name: [] for name in programs}
    if bare := build_bare(options.work):
        ends["bare C program"] = []
    connections = {name: [] for name in programs}
    for number in range(runs + 1):
        for name in ends:
            command = programs[name]() if name in programs else [bare]
            result = Running(command).wait()
            # The first round only fills the page cache.
            if number:
                ends[name].append(result)
        for name, command in programs.items():
            result = connect(command, options.work / "qmp")
            if number:
                connections[name].append(result)

    title(f"start: a guest of 256 MiB that resets at once; {runs} runs each, in turns")
    print("From the process's start to its end:")
    show(ends)
    print("From the process's start to a QMP client's connection:")
    show(connections)


def show(results):
    ours = median([cpu for _, cpu in results["Apus"]])
    rows = []
    for name, pairs in results.items():
        walls, cpus = [wall for wall, _ in pairs], [cpu for _, cpu in pairs]
        rows.append(
            (name, median(cpus), percentile(cpus, 0.99), median(walls), percentile(walls, 0.99), median(cpus) / ours)
        )
    table([("CPU ms", 2), ("p99", 2), ("wall ms", 2), ("p99", 2), ("CPU / Apus's", 2)], rows)


def connect(command, path):
    """Wall and CPU time, in ms, until a client's connection is accepted. The guest is held back meanwhile."""
    path.unlink(missing_ok=True)
    running = Running(command("-S"))
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(path))
                    return (time.monotonic() - running.began) * 1e3, running.cpu()
                except (FileNotFoundError, ConnectionRefusedError):
                    if not running.alive() or time.monotonic() > running.began + 20:
                        raise BenchError(f"{running.command[0]} does not listen{running.words()}") from None
            time.sleep(0.0001)
    finally:
        running.kill()


def build_bare(work):
    """The C program that makes the same KVM calls and nothing else; none without a compiler."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if not compiler:
        return None
    binary = work / "bare"
    subprocess.run([compiler, "-O2", "-static", "-pthread", "-o", binary, HACK / "bench" / "bare.c"], check=True)
    return str(binary)
