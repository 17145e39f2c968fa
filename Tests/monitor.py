"""apus as its users meet it: a process with a command line, a QMP socket, and an exit status."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import harness
from harness import TOP

APUS = os.environ.get("APUS", str(TOP / ".build/static/release/apus"))

# A guest in the lab, twice emulated, takes its time; what works is much quicker than this.
PATIENCE = 120


class QMPError(Exception):
    """A command was refused; `kind` is its class, as in QMP."""

    def __init__(self, error):
        super().__init__(f"{error.get('class')}: {error.get('desc')}")
        self.kind = error.get("class")


class QMP:
    """A client on a QMP socket. It waits for one that listens, and negotiates, unless told not to."""

    def __init__(self, address, negotiate=True, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        self.events = []
        self._rest = b""
        while True:
            self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            try:
                self.socket.connect(address)
                self.greeting = self.receive(timeout)
                break
            # A reset comes from the socket of a process that was killed a moment ago.
            except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
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


class Monitor:
    """An apus process. `options` are handed on after those that every machine has.

    Its serial console is what it reads and writes itself, unless `serial` says otherwise. Use it in a `with`: at its
    end the process is ended if it still runs. `under` is a command that runs it, and becomes it.
    """

    def __init__(self, work, *options, serial="stdio", qmp=None, stdin=subprocess.PIPE, pass_fds=(), under=()):
        self.work = Path(work)
        number = len(list(self.work.glob("errors-*")))
        self.qmp_path = str(self.work / f"qmp-{number}.sock")
        self.command = [*under, APUS, *(str(option) for option in options)]
        self.command += ["-qmp", qmp or f"unix:{self.qmp_path},server,nowait"]
        if serial:
            self.command += ["-serial", serial]
        self.output = ""
        self._from = 0
        self._errors = open(self.work / f"errors-{number}", "w+b")
        self.process = subprocess.Popen(
            self.command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self.work,
            pass_fds=pass_fds,
        )
        self._typing = self.process.stdin and self.process.stdin.fileno()
        self._console = self.process.stdout.fileno()
        os.set_blocking(self._console, False)
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

    def use_console(self, descriptor):
        """Takes the console from elsewhere: a pseudo-terminal, or a connection."""
        os.set_blocking(descriptor, False)
        self._typing = self._console = descriptor

    def _read(self, timeout):
        """Takes over what the console has, waiting for it; False at its end."""
        if not select.select([self._console], [], [], max(0, timeout))[0]:
            return True
        try:
            data = os.read(self._console, 65536)
        except (OSError, ValueError):
            # How a pseudo-terminal tells that the other end is gone.
            data = b""
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

    def shows(self, pattern):
        """Whether the console has shown a regular expression already, after what was matched before."""
        found = re.compile(pattern, re.MULTILINE).search(self.output, self._from)
        self._from = found.end() if found else self._from
        return found is not None

    def listen(self, seconds):
        """Takes over what the console says for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(deadline - time.monotonic()):
            pass

    def type(self, text):
        """Types on the guest's console."""
        os.write(self._typing, text.encode())

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
        """All there is to know about this process, for one who looks why a test failed."""
        with contextlib.suppress(OSError, ValueError):
            while select.select([self._console], [], [], 0)[0] and self._read(0):
                pass
        command = " ".join(f"'{word}'" if " " in word else word for word in self.command)
        console = "\n".join(self.output.splitlines()[-40:])
        return f"{command}\nexit status {self.process.poll()}\nstderr:\n{self.errors}\nconsole:\n{console}"
