"""What the Linux tests share: a Linux guest on apus, its console and its shell."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import TOP
from monitor import PATIENCE, QMP, Monitor, QMPError

__all__ = ["IMAGES", "PATIENCE", "PROMPT", "QMP", "Guest", "Pauses", "QMPError", "copy_image", "initramfs_with"]

IMAGES = Path(os.environ.get("APUS_IMAGES", TOP / ".build/images"))
PROMPT = r"apus:\S*# (\x1b\[6n)?"


def copy_image(name, folder, size=None):
    """A copy of an image for a test to write on, made `size` bytes long if that is told; its path."""
    path = Path(folder) / name
    shutil.copyfile(IMAGES / name, path)
    if size is not None:
        os.truncate(path, size)
    return path


def initramfs_with(work, *tools):
    """An initramfs with programs of Tests/Linux/tools beside the usual ones; its path."""
    made = Path(work) / "initramfs"
    shutil.copyfile(IMAGES / "initramfs", made)
    with open(made, "ab") as out:
        for tool in tools:
            out.write(archived(f"bin/{tool}", 0o100755, build_tool(work, tool).read_bytes()))
        out.write(archived("TRAILER!!!", 0, b""))
    return made


def build_tool(work, tool):
    """A program of Tests/Linux/tools for a guest; its path."""
    binary = Path(work) / tool
    source = Path(__file__).parent / "tools" / f"{tool}.c"
    compiler = shutil.which("cc") or shutil.which("clang")
    subprocess.run([compiler, "-O1", "-static", "-s", "-o", binary, source], check=True)
    return binary


def archived(name, mode, content):
    """One file of an archive as the kernel reads it (`newc`)."""
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


# The lab's emulated processor lets a guest set XCR0 without KVM's knowledge, so that CPUID tells wrong sizes: Linux
# warns about that in a hundred lines, on the console of a machine that is emulated twice, and some boots end in it.
# Of what a boot takes there, two fifths are Linux's tests of its own ciphers.
LAB_PARAMETERS = "noxsave cryptomgr.notests" if os.environ.get("IN_LAB") else ""


class Guest(Monitor):
    """An apus process with a Linux guest.

    `append` is added to a command line that has its console on the serial port, or on `console`; `disks` are paths, or whole values of -drive
    without `id`, the first of them /dev/vda, and where one is a pair, its second half are more keys of its -device;
    `kernel` is the name of an image, or a path; `options` are handed on.
    """

    _kernel_is_quiet = False

    def __init__(
        self, work, *options, append="", console="ttyS0", kernel="vmlinuz", initrd="initramfs", machine="type=microvm",
        memory=256, cpus=1, disks=(), **more
    ):
        command = ["-machine", machine, "-m", memory, "-smp", cpus]
        command += ["-kernel", IMAGES / kernel]
        if initrd:
            command += ["-initrd", IMAGES / initrd]
        command += ["-append", f"console={console} loglevel=5 panic=-1 {LAB_PARAMETERS} {append}".strip()]
        for index, disk in enumerate(disks):
            disk, keys = disk if isinstance(disk, tuple) else (disk, "")
            drive = str(disk) if "file=" in str(disk) else f"file={disk}"
            command += ["-drive", f"id=disk{index},{drive}"]
            command += ["-device", f"virtio-blk-device,drive=disk{index},id=blk{index}{keys and ',' + keys}"]
        super().__init__(work, *command, *options, **more)

    def facts(self):
        """What the guest's `report` says (rootfs/guest/apus/tests), by its first word; a list for each."""
        text = self.expect(r"(?s)^APUS-USERSPACE.*?^APUS-DONE report \d+\n").group(0)
        facts = {}
        for name, value in re.findall(r"^APUS-(\w+) (.*)$", text, re.MULTILINE):
            facts.setdefault(name, []).append(value)
        return facts

    def shell(self, command, timeout=PATIENCE):
        """Runs a command in the guest's shell; what it printed. AssertionError if it failed."""
        self.expect(PROMPT, timeout)
        if not self._kernel_is_quiet:
            # A warning of the kernel's, such as of a slow timer, would stand in the middle of what a command prints.
            # A panic still shows.
            self._kernel_is_quiet = True
            self.type("dmesg -n 1\n")
            self.expect(PROMPT, timeout)
        # The marks are put together in the guest, so that the echo of what was typed is not taken for them.
        self.type(f"echo BE''GIN; {command}; echo EN''D-$?\n")
        self.expect(r"^BEGIN\n", timeout)
        found = self.expect(r"(?s)(.*?)END-(\d+)\n", timeout)
        assert found.group(2) == "0", f"{command!r} failed in the guest: {found.group(1)}"
        return found.group(1)


class Pauses:
    """Stops a machine time and again in the middle of something, however quick that is.

    `between` is for how long to let it run until the next time: a moment at first, and longer each time.
    """

    def __init__(self, guest):
        self.guest, self.count, self.between = guest, 0, 0.005

    def once(self, meanwhile=lambda: time.sleep(0.05)):
        """Stops it, calls `meanwhile`, and lets it go on."""
        self.guest.qmp.execute("stop")
        meanwhile()
        self.guest.qmp.execute("cont")
        self.count += 1
        self.between = min(2 * self.between, 0.4)
