"""What the benchmarks share: the programs that are compared, a kernel of a few bytes, runs, and tables."""

import os
import platform
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HACK = Path(__file__).resolve().parent.parent
MEMORY = 256  # MiB, of every guest here


class BenchError(Exception):
    """A benchmark cannot be had; the text says why."""


@dataclass
class Options:
    runs: int = 0
    apus: Path = None
    work: Path = None


# The addresses of the kernel's code and of its empty interrupt table.
CODE, NOTHING = 0x100000, 0x100100
# lidt [NOTHING]; ud2: an exception that nobody can handle, which shuts the processor down.
RESET = b"\x0f\x01\x1d" + struct.pack("<I", NOTHING) + b"\x0f\x0b"
# cli; hlt; jmp to hlt
IDLE = b"\xfa\xf4\xeb\xfd"


def make_kernel(path, code):
    """Writes `code` as an ELF kernel with the note that PVH loaders look for: entered in 32-bit protected mode."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", CODE)
    code = code.ljust(NOTHING - CODE, b"\xf4") + bytes(16)
    code_at = 64 + 2 * 56
    note_at = code_at + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, CODE, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, code_at, CODE, CODE, len(code), len(code), 16)
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    path.write_bytes(header + load + notes + code + note)
    return path


def apus(options, kernel, *more, qmp=None):
    initrd = options.work / "initrd"
    initrd.write_bytes(bytes(512))
    return [str(options.apus), "-machine", "microvm", "-m", str(MEMORY), "-smp", "1", "-kernel", str(kernel)] + [
        *("-initrd", str(initrd), "-qmp", f"unix:{qmp or options.work / 'qmp'},server,nowait", *more)
    ]


def qemu(options, kernel, *more, qmp=None):
    return ["qemu-system-x86_64", "-machine", "microvm,accel=kvm", "-cpu", "host", "-m", str(MEMORY), "-smp", "1"] + [
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", str(kernel)),
        *("-qmp", f"unix:{qmp or options.work / 'qmp'},server,nowait", *more),
    ]


def build_alone(product):
    """Builds a load that has device and driver in one process; the program."""
    scratch = HACK.parent / ".build/benchmark"
    build = ["swift", "build", "-c", "release", "--product", product, "--scratch-path", scratch]
    build += ["-Xswiftc", "-static-stdlib", "-Xswiftc", "-enforce-exclusivity=unchecked"]
    if subprocess.run(build, cwd=HACK.parent, stdout=sys.stderr).returncode:
        raise BenchError("the build failed")
    return scratch / "release" / product


def alone(product, *words, rounds):
    """Builds and runs a load that has device and driver in one process: by name, the medians of its lines' numbers."""
    built = build_alone(product)
    program = [word if word != product else built for word in words]
    found = {}
    for _ in range(rounds):
        for line in subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
            name, *values = line.split()
            found.setdefault(name, []).append([float(value) for value in values])
    return {name: [median(column) for column in zip(*runs)] for name, runs in found.items()}


def require_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise BenchError("no access to /dev/kvm")


class Running:
    """A process under measurement."""

    def __init__(self, command):
        self.command = command
        self.log = tempfile.TemporaryFile()
        quiet = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, **quiet)

    def cpu(self):
        """CPU time of all threads so far, in ms."""
        total = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e6

    def wait(self, limit=20):
        """Waits for the end; wall time from the start and CPU time of the process, in ms."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            if not select.select([pidfd], [], [], limit)[0]:
                self.kill()
                raise BenchError(f"{self.command[0]} was not done within {limit} s{self.words()}")
            _, status, usage = os.wait4(self.process.pid, 0)
            wall = time.monotonic() - self.began
            self.process.returncode = os.waitstatus_to_exitcode(status)
            if self.process.returncode:
                raise BenchError(f"{self.command[0]} ended with {self.process.returncode}{self.words()}")
            return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3
        finally:
            os.close(pidfd)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def alive(self):
        return self.process.poll() is None

    def words(self):
        return ": " + os.pread(self.log.fileno(), 1000, 0).decode(errors="replace").strip()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def median(values):
    return statistics.median(values)


def title(text):
    print(f"\n{text}\n{platform.processor() or platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs")


def table(head, rows):
    """Prints rows of a name and of values, each with the decimals that its head asks for: ('CPU ms', 2)."""
    wide = max(len(name) for name, *_ in rows) + 2
    print(" " * wide + "".join(f"{name:>{max(12, len(name) + 2)}}" for name, _ in head))
    for name, *values in rows:
        cells = ("-" if value is None else f"{value:.{digits}f}" for value, (_, digits) in zip(values, head))
        print(f"{name:<{wide}}" + "".join(f"{cell:>{max(12, len(h) + 2)}}" for cell, (h, _) in zip(cells, head)))
