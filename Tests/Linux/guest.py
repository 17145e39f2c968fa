"""What the Linux tests share: a guest started by apus's command line, its serial console, and its QMP socket."""

import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import harness
from harness import TOP

APUS = os.environ.get("APUS", str(TOP / ".build/static/release/apus"))
IMAGES = Path(os.environ.get("APUS_IMAGES", TOP / ".build/images"))

# A guest in the lab, twice emulated, takes its time; what works is much quicker than this.
PATIENCE = 120

def copy_image(name, folder, size=None):
    """A copy of an image for a test to write on, made `size` bytes long if that is told; its path."""
    path = Path(folder) / name
    shutil.copyfile(IMAGES / name, path)
    if size is not None:
        os.truncate(path, size)
    return path


class QMPError(Exception):
    """A command was refused; `kind` is its class, as in QMP."""

    def __init__(self, error):
        super().__init__(f"{error.get('class')}: {error.get('desc')}")
        self.kind = error.get("class")


class QMP:
    """A client on a QMP socket. It negotiates when made, unless told not to."""

    def __init__(self, address, negotiate=True, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        self.events = []
        self._rest = b""
        while True:
            self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            try:
                self.socket.connect(address)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.greeting = self.receive(timeout)
        if negotiate:
            self.execute("qmp_capabilities")

    def send(self, data):
        """Sends bytes, or a value as JSON."""
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def receive(self, timeout=PATIENCE):
        """The next message. EOFError at the end of the connection."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._rest:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the QMP connection was closed")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def execute(self, command, arguments=None, timeout=PATIENCE):
        """Runs a command; what it returns. Events that come meanwhile are kept in `events`."""
        message = {"execute": command}
        if arguments is not None:
            message["arguments"] = arguments
        self.send(message)
        while True:
            reply = self.receive(timeout)
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise QMPError(reply["error"])
            else:
                return reply["return"]

    def wait_event(self, name, timeout=PATIENCE):
        """The next event of that name, one that has come already included; it and those before it are used up."""
        deadline = time.monotonic() + timeout
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event
            self.events.append(self.receive(deadline - time.monotonic()))

    def close(self):
        self.socket.close()


class Guest:
    """An apus process with a Linux guest.

    `append` is added to a command line that has a serial console; `disks` are paths, or whole values of -drive
    without `id`, the first of them /dev/vda; `options` are handed on. Use it in a `with`: at its end the process is
    ended if it still runs.
    """

    def __init__(self, work, *options, append="", kernel="vmlinuz", initrd="initramfs", memory=256, cpus=1, disks=()):
        self.work = Path(work)
        number = len(list(self.work.glob("errors-*")))
        self.qmp_path = str(self.work / f"qmp-{number}.sock")
        self.command = [APUS, "-machine", "type=microvm", "-m", str(memory), "-smp", str(cpus)]
        self.command += ["-kernel", str(IMAGES / kernel)]
        if initrd:
            self.command += ["-initrd", str(IMAGES / initrd)]
        self.command += ["-append", f"console=ttyS0 loglevel=5 panic=-1 {append}".strip()]
        for index, disk in enumerate(disks):
            drive = str(disk) if "file=" in str(disk) else f"file={disk}"
            self.command += ["-drive", f"id=disk{index},{drive}"]
            self.command += ["-device", f"virtio-blk-device,drive=disk{index},id=blk{index}"]
        self.command += ["-qmp", f"unix:{self.qmp_path},server,nowait", "-serial", "stdio", "-disable-seccomp"]
        self.command += [str(option) for option in options]
        self.output = ""
        self._from = 0
        self._errors = open(self.work / f"errors-{number}", "w+b")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, cwd=self.work
        )
        fd = self.process.stdout.fileno()
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
        self._qmp = None
        harness.keep(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def qmp(self):
        """A negotiated QMP connection, made at the first use."""
        if self._qmp is None:
            self._qmp = QMP(self.qmp_path)
        return self._qmp

    def _read(self, timeout):
        """Takes over what the console has, waiting for it; False at its end."""
        if not select.select([self.process.stdout], [], [], max(0, timeout))[0]:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        text = data.decode(errors="replace").replace("\r", "")
        if harness.verbose:
            sys.stderr.write(text)
        self.output += text
        return bool(data)

    def expect(self, pattern, timeout=PATIENCE):
        """Waits for a regular expression on the console, after what was matched before; the match.

        One that is to match a whole line ends in \\n: `$` also matches where the rest has not arrived yet.
        """
        deadline = time.monotonic() + timeout
        expression = re.compile(pattern, re.MULTILINE)
        more = True
        while True:
            if found := expression.search(self.output, self._from):
                self._from = found.end()
                return found
            if not more:
                raise AssertionError(f"apus ended (status {self.wait()}) before the console showed {pattern!r}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the console did not show {pattern!r} within {timeout} s")
            more = self._read(deadline - time.monotonic())

    def facts(self):
        """What the guest's `report` says (rootfs/guest/apus/tests), by its first word; a list for each."""
        text = self.expect(r"(?s)^APUS-USERSPACE.*?^APUS-DONE report \d+\n").group(0)
        facts = {}
        for name, value in re.findall(r"^APUS-(\w+) (.*)$", text, re.MULTILINE):
            facts.setdefault(name, []).append(value)
        return facts

    def type(self, text):
        """Types on the guest's console."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def shell(self, command, timeout=PATIENCE):
        """Runs a command in the guest's shell; what it printed. AssertionError if it failed."""
        self.expect(r"apus:\S*# (\x1b\[6n)?", timeout)
        # The mark is put together in the guest, so that the echo of what was typed is not taken for it.
        self.type(f"{command}; echo DONE''-$?\n")
        self.expect(r"echo DONE''-\$\?\n", timeout)
        found = self.expect(r"(?s)(.*?)^DONE-(\d+)\n", timeout)
        assert found.group(2) == "0", f"{command!r} failed in the guest: {found.group(1)}"
        return found.group(1)

    def wait(self, timeout=PATIENCE):
        """Waits for apus to end; its exit status, negative for a signal."""
        deadline = time.monotonic() + timeout
        while self._read(min(0.2, deadline - time.monotonic())) and time.monotonic() < deadline:
            pass
        try:
            return self.process.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"apus did not end within {timeout} s") from None

    def kill(self):
        """Ends apus at once, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self._qmp is not None:
            self._qmp.close()

    @property
    def errors(self):
        """What apus said on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def log(self):
        """All there is to know about this guest, for one who looks why a test failed."""
        while self.process.stdout and self._read(0) and select.select([self.process.stdout], [], [], 0)[0]:
            pass
        command = " ".join(f"'{word}'" if " " in word else word for word in self.command)
        console = "\n".join(self.output.splitlines()[-40:])
        return f"{command}\nexit status {self.process.poll()}\nstderr:\n{self.errors}\nconsole:\n{console}"
