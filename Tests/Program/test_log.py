"""The log: what it says, where it goes, how much, and that it holds up nobody."""

import contextlib
import datetime
import os
import pty
import re
import select
import stat
import subprocess
import time

from monitor import APUS, PATIENCE, QMP
from test_chardevs import FLOOD, connect
from tiny import ENDS, IDLE, Tiny

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (ERROR|WARN|INFO|DEBUG|TRACE) ([^:]+): (.+)")
LINES = FLOOD[:20] + (b"0123456789abcdef" * 8)[:-1] + b"\n"
LINES += LINES[20:] * 31


@contextlib.contextmanager
def environment(**variables):
    """Other values for the environment of what is started meanwhile; None takes a variable away."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def parse(text):
    """The lines of a log: time, level, who speaks, text."""
    lines = text.splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match][:5]
    return [match.groups() for match in found]


def levels_shown(work, **variables):
    """The levels of the lines of a machine that has something to say at several of them."""
    options = ["-chardev", f"socket,id=spare,path={work}/spare,server,nowait"]
    with environment(**({"APUS_LOG": None, "STRATOVIRT_LOG_LEVEL": None} | variables)):
        with Tiny(work, IDLE, *options) as tiny:
            client = connect(tiny, f"{work}/spare")
            client.send(b"x")
            # A second client is looked at only after the first.
            client.close()
            connect(tiny, f"{work}/spare").close()
            tiny.qmp.execute("query-status")
            tiny.qmp.execute("quit")
            tiny.check_end()
            return {level for _, level, _, _ in parse(tiny.errors)}


def test_levels(work):
    expected = {
        "error": set(),
        "WARN": {"WARN"},
        "Info": {"WARN", "INFO"},
        "debug": {"WARN", "INFO", "DEBUG"},
        "trace": {"WARN", "INFO", "DEBUG"},
        "loud": {"WARN", "INFO"},
        None: {"WARN", "INFO"},
    }
    for name, levels in expected.items():
        assert levels_shown(work, STRATOVIRT_LOG_LEVEL=name) == levels, name
        assert levels_shown(work, APUS_LOG=name) == levels, name
    # Its own variable counts more.
    assert levels_shown(work, APUS_LOG="warn", STRATOVIRT_LOG_LEVEL="debug") == {"WARN"}


def test_lines(work):
    """A line tells when, how much it matters, and who speaks."""
    started = datetime.datetime.now(datetime.timezone.utc)
    options = ["-chardev", f"socket,id=spare one,path={work}/spare,server,nowait"]
    with Tiny(work, ENDS["ACPI power off"][0], *options) as tiny:
        tiny.check_end()
        lines = parse(tiny.errors)
        times = [datetime.datetime.fromisoformat(when.replace("Z", "+00:00")) for when, _, _, _ in lines]
        assert times == sorted(times) and started <= times[0], times
        assert times[-1] <= datetime.datetime.now(datetime.timezone.utc)
        assert [line[1:] for line in lines] == [
            ("WARN", "spare one", "no device uses this chardev"),
            ("INFO", "machine", "running"),
            ("INFO", "machine", "the guest powered off"),
        ], lines


def test_nobody_forges_a_line(work):
    options = ["-chardev", f"socket,id=a\nb\x1b[31m,path={work}/spare,server,nowait"]
    options += ["-chardev", "redirect-to-log,id=guest"]
    code = FLOOD[:20] + b"\x1b[2J\x07text\r\n" * 400
    with Tiny(work, code, *options, serial="chardev:guest") as tiny:
        deadline = time.monotonic() + PATIENCE
        while "guest" not in tiny.errors:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        tiny.qmp.execute("quit")
        tiny.check_end()
        lines = parse(tiny.errors)
        assert lines[0][2:] == ("a?b?[31m", "no device uses this chardev"), lines[0]
        assert ("INFO", "guest", "?[2J?text") in [line[1:] for line in lines]


# MARK: Files


def test_file_or_standard_error(work):
    code = ENDS["triple fault"][0]
    for options in ([], ["-D"]):
        with Tiny(work, code, *options) as tiny:
            tiny.check_end()
            assert "triple fault" in tiny.errors
    with Tiny(work, code, "-D", f"{work}/log") as tiny:
        tiny.check_end(left=["log"])
        assert tiny.errors == ""
        assert "triple fault" in (work / "log").read_text()
        assert stat.S_IMODE((work / "log").stat().st_mode) == 0o640


def test_old_files_give_way(work):
    """A file of another day, or of 100 MiB, becomes the first of six older ones; one of today is added to."""
    log = work / "log"
    code = ENDS["triple fault"][0]

    def run():
        with Tiny(work, code, "-D", log) as tiny:
            assert tiny.wait() == 0

    run()
    run()
    assert log.read_text().count("triple fault") == 2 and not (work / "log1").exists()
    for number in range(1, 10):
        yesterday = time.time() - 86400
        log.write_text(f"log {number}\n")
        os.utime(log, (yesterday, yesterday))
        run()
        assert log.read_text().count("triple fault") == 1
    assert sorted(path.name for path in work.glob("log*")) == ["log"] + [f"log{n}" for n in range(1, 7)]
    assert [(work / f"log{n}").read_text() for n in range(1, 7)] == [f"log {n}\n" for n in range(9, 3, -1)]
    os.truncate(log, 100 << 20)
    run()
    assert (work / "log1").stat().st_size == 100 << 20 and log.stat().st_size < 1000
    os.truncate(log, (100 << 20) - 1)
    run()
    assert (work / "log2").read_text() == "log 9\n" and log.stat().st_size > 100 << 20


# MARK: Nobody waits for the log


class Loud:
    """A machine whose guest fills the log, with standard error at a descriptor."""

    def __init__(self, work, errors, *options):
        command = [APUS, *Tiny.files(work, LINES), "-qmp", f"unix:{work}/qmp,server,nowait"]
        command += ["-chardev", "redirect-to-log,id=guest", "-serial", "chardev:guest", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors)
        self.qmp = QMP(f"{work}/qmp")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def check_works(self, seconds=3):
        """It answers at once, time and again, and can be ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            asked = time.monotonic()
            assert self.qmp.execute("query-status", timeout=10)["running"]
            assert time.monotonic() - asked < 5
            time.sleep(0.05)

    def check_end(self):
        self.qmp.execute("quit")
        assert self.process.wait(PATIENCE) == 0


def read_until_lost(descriptor):
    """What comes until the log says that lines were lost: whole lines."""
    data = b""
    while b"lines were lost" not in data or not data.endswith(b"\n"):
        assert select.select([descriptor], [], [], PATIENCE)[0], data[-1000:]
        data += os.read(descriptor, 1 << 16)
    return data.decode().replace("\r\n", "\n")


def test_pipe_that_nobody_reads(work):
    reading, writing = os.pipe()
    with Loud(work, writing) as loud:
        loud.check_works()
        # When it is read again, what came through is whole, and the rest is counted.
        lines = parse(read_until_lost(reading))
        lost = [line for line in lines if line[2] == "log"]
        assert re.fullmatch(r"\d+ lines were lost: the log's reader or disk did not take them", lost[0][3])
        # The way in which others use the pipe is as before.
        assert os.get_blocking(writing)
        reader = subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.DEVNULL)
        loud.check_end()
        os.close(writing)
        reader.wait(PATIENCE)
    os.close(reading)


def test_pipe_whose_reader_has_gone(work):
    reading, writing = os.pipe()
    with Loud(work, writing) as loud:
        os.close(reading)
        loud.check_works(0.5)
        loud.check_end()
    os.close(writing)


def test_terminal_that_nobody_reads(work):
    master, slave = pty.openpty()
    with Loud(work, slave) as loud:
        loud.check_works()
        read_until_lost(master)
        assert os.get_blocking(slave)
        loud.check_end()
    os.close(slave)
    os.close(master)


def test_disk_that_is_full(work):
    with Loud(work, subprocess.DEVNULL, "-D", "/dev/full") as loud:
        loud.check_works(0.5)
        loud.check_end()
