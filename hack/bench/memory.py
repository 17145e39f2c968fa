"""How much memory an idle machine's process has to itself, beside the guest's."""

import contextlib
import re
import time
from pathlib import Path

from common import IDLE, MEMORY, BenchError, Running, apus, make_kernel, median, qemu, require_kvm, table, title


def run(options):
    require_kvm()
    runs = options.runs or 5
    kernel = make_kernel(options.work / "idle.elf", IDLE)
    programs = {"Apus": apus_machine, "QEMU microvm": qemu_machine}
    alone, beside = ({name: [] for name in programs} for _ in range(2))
    for _ in range(runs):
        for name, machine in programs.items():
            commands = [machine(options, kernel, place(options.work / str(number))) for number in range(2)]
            with settled(commands[0]) as first:
                alone[name].append(used(first.process.pid))
                with settled(commands[1]):
                    beside[name].append(used(first.process.pid))
    title(f"memory: an idle guest of {MEMORY} MiB with a disk, a serial port and QMP; {runs} runs each, in turns")
    print(
        "Private to the process beside the guest's memory, while it is the only one of its program (then the pages of"
    )
    print("the program's own file count as private), and while there is a second one like it:")
    ours = median(alone["Apus"])
    rows = [(name, median(alone[name]), median(beside[name]), median(alone[name]) / ours) for name in programs]
    table([("alone MB", 2), ("of two MB", 2), ("alone / Apus's", 2)], rows)


def place(directory):
    """A folder for one machine's files, with a disk."""
    directory.mkdir(exist_ok=True)
    with open(directory / "disk", "wb") as file:
        file.truncate(64 << 20)
    return directory


def apus_machine(options, kernel, directory):
    drive = ["-drive", f"id=disk,file={directory / 'disk'},direct=off"]
    device = ["-device", "virtio-blk-device,drive=disk,id=blk0", "-serial", f"file,path={directory / 'serial'}"]
    return apus(options, kernel, *drive, *device, qmp=directory / "qmp")


def qemu_machine(options, kernel, directory):
    drive = ["-drive", f"if=none,id=disk,file={directory / 'disk'},format=raw"]
    device = ["-device", "virtio-blk-device,drive=disk", "-serial", f"file:{directory / 'serial'}"]
    return qemu(options, kernel, *drive, *device, qmp=directory / "qmp")


@contextlib.contextmanager
def settled(command):
    """The running process, when its memory use has not changed for half a second."""
    running = Running(command)
    try:
        before, since = None, time.monotonic()
        while time.monotonic() < since + 0.5:
            time.sleep(0.05)
            if not running.alive():
                raise BenchError(f"{command[0]} ended by itself{running.words()}")
            if time.monotonic() > running.began + 20:
                raise BenchError(f"{command[0]} does not settle")
            if (now := used(running.process.pid)) != before:
                before, since = now, time.monotonic()
        yield running
    finally:
        running.kill()


def used(pid):
    """Private memory, in MB, in all mappings but those that are as large as the guest's memory."""
    private = 0
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text(), flags=re.M):
        fields = {name: int(kib) for name, kib in re.findall(r"^(\w+): +(\d+) kB", mapping, re.M)}
        if fields and fields["Size"] < MEMORY << 10:
            private += fields["Private_Clean"] + fields["Private_Dirty"]
    return private * 1024 / 1e6
