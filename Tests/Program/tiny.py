"""Guests of a few bytes, entered in 64-bit mode without interrupts, and what a test wants to know of the host."""

import re
import time
from pathlib import Path

from monitor import PATIENCE, QMP, Monitor, QMPError

__all__ = ["ENDS", "PATIENCE", "QMP", "QMPError", "Tiny", "gone", "threads", "wait_until"]

# hlt; jmp to it
IDLE = b"\xf4\xeb\xfd"
# jmp to itself
SPIN = b"\xeb\xfe"
# mov $0x3f8, %dx; 1: mov $1 << 16, %ecx; 2: loop 2b; mov %bl, %al; and $63, %al; add $'0', %al; out %al, %dx;
# inc %ebx; jmp 1b
COUNT = b"\x66\xba\xf8\x03\xb9\x00\x00\x01\x00\xe2\xfe\x88\xd8\x24\x3f\x04\x30\xee\xff\xc3\xeb\xee"
# 1: mov $0x3fd, %dx; 2: in %dx, %al; test $1, %al; jz 2b; mov $0x3f8, %dx; in %dx, %al; out %al, %dx; jmp 1b
ECHO = b"\x66\xba\xfd\x03\xec\xa8\x01\x74\xfb\x66\xba\xf8\x03\xec\xee\xeb\xef"
# ud2, and no handler for it
TRIPLE_FAULT = b"\x0f\x0b"
# mov $0xfe, %al; out %al, $0x64
KEYBOARD_RESET = b"\xb0\xfe\xe6\x64" + IDLE
# mov $0x600, %dx; mov $0x34, %al (SLP_EN, S5); out %al, %dx
POWER_OFF = b"\x66\xba\x00\x06\xb0\x34\xee" + IDLE
# mov $0x602, %dx; mov $1, %al; out %al, %dx
ACPI_RESET = b"\x66\xba\x02\x06\xb0\x01\xee" + IDLE

# mov $0x505, %dx; mov $1, %al; out %al, %dx, three times
PANIC = b"\x66\xba\x05\x05\xb0\x01\xee\xee\xee"
# The same with 2: another kernel is about to write a dump.
CRASH_LOADED = PANIC.replace(b"\xb0\x01", b"\xb0\x02")
# mov $0xe0000000, %eax; jmp *%rax: to where there is nothing
NOWHERE = b"\xb8\x00\x00\x00\xe0\xff\xe0"

# How a guest ends its machine: its code, and the events that announce it.
ENDS = {
    "triple fault": (TRIPLE_FAULT, ["RESET", "SHUTDOWN"]),
    "keyboard controller": (KEYBOARD_RESET, ["RESET", "SHUTDOWN"]),
    "ACPI power off": (POWER_OFF, ["SHUTDOWN"]),
    "ACPI reset": (ACPI_RESET, ["RESET", "SHUTDOWN"]),
}


class Tiny(Monitor):
    """An apus process with a guest of these bytes."""

    def __init__(self, work, code=IDLE, *options, **more):
        super().__init__(work, *self.files(work, code), *options, **more)

    @staticmethod
    def files(work, code=IDLE):
        """The options that start a guest of these bytes."""
        kernel, initrd = Path(work) / "kernel", Path(work) / "initrd"
        kernel.write_bytes(code)
        initrd.write_bytes(bytes(512))
        return ["-kernel", str(kernel), "-initrd", str(initrd)]

    def check_end(self, status=0, left=()):
        """Waits for the end, and sees that it is in good order: this exit status, and no file of ours left."""
        assert self.wait() == status, (self.process.returncode, self.errors)
        assert "Fatal error" not in self.errors, self.errors
        files = {path.name for path in self.work.iterdir()} - {"kernel", "initrd"}
        files = {name for name in files if not name.startswith("errors-")}
        assert files == set(left), f"left behind: {files}"


def threads(pid):
    """The names of a process's threads, by their numbers."""
    folder = Path(f"/proc/{pid}/task")
    return {int(task.name): (task / "comm").read_text().rstrip("\n") for task in folder.iterdir()}


def wait_until(condition):
    """Waits for what comes without a word."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid):
    """Whether no such process runs any more."""
    try:
        return re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is not None
    except (FileNotFoundError, ProcessLookupError):
        return True
