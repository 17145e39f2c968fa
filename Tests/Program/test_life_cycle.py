"""How a machine starts, pauses and ends, and what the host sees of it."""

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

from monitor import APUS, PATIENCE, QMP
from tiny import COUNT, ECHO, ENDS, IDLE, SPIN, Tiny, gone, threads


def events_until_end(qmp):
    """The events that come until the connection is closed, by name, with their data."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            qmp.events.append(qmp.receive())
    return [(event["event"], event["data"]) for event in qmp.events if "event" in event]


# MARK: Ends


def test_guest_ends(work):
    """Each way a guest has to end its machine: status 0, its events, nothing left."""
    for way, (code, names) in ENDS.items():
        folder = work / way.replace(" ", "-")
        folder.mkdir()
        with Tiny(folder, code, "-S") as tiny:
            tiny.qmp.execute("cont")
            events = events_until_end(tiny.qmp)
            assert [name for name, _ in events] == ["RESUME", *names], (way, events)
            assert events[-1][1] == {"guest": True, "reason": "guest-shutdown"}, (way, events)
            if "RESET" in names:
                assert ("RESET", {"guest": True}) in events, (way, events)
            tiny.check_end()


def test_commands_that_end(work):
    cases = {
        "quit": [("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})],
        "system_powerdown": [
            ("POWERDOWN", {}),
            ("SHUTDOWN", {"guest": False, "reason": "host-qmp-system-powerdown"}),
        ],
        "system_reset": [
            ("RESET", {"guest": False}),
            ("SHUTDOWN", {"guest": False, "reason": "host-qmp-system-reset"}),
        ],
    }
    for code in (IDLE, SPIN):
        for command, wanted in cases.items():
            with Tiny(work, code) as tiny:
                assert tiny.qmp.execute(command) == {}
                events = events_until_end(tiny.qmp)
                assert events == wanted, (command, events)
                tiny.check_end()


def test_signals_that_end(work):
    for code in (IDLE, SPIN):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with Tiny(work, code, "-smp", "2", serial=f"socket,path={work}/serial,server,nowait") as tiny:
                assert tiny.qmp.execute("query-status")["running"]
                tiny.process.send_signal(number)
                events = events_until_end(tiny.qmp)
                reason = f"Guest shutdown by signal {int(number)}"
                assert events == [("SHUTDOWN", {"guest": False, "reason": reason})], events
                tiny.check_end()


def test_signal_in_every_state(work):
    # Before the first instruction, while paused, and again and again.
    with Tiny(work, SPIN, "-S") as tiny:
        tiny.qmp.execute("query-status")
        tiny.process.terminate()
        tiny.check_end()
    with Tiny(work, SPIN) as tiny:
        tiny.qmp.execute("stop")
        tiny.process.terminate()
        tiny.check_end()
    with Tiny(work, SPIN) as tiny:
        tiny.qmp.execute("query-status")
        for _ in range(100):
            tiny.process.send_signal(signal.SIGINT)
        tiny.check_end()


def test_signal_at_any_moment_of_the_start(work):
    """A signal while everything is being built: it ends in good order or by the signal, and leaves nothing."""
    for delay in range(0, 60, 3):
        with Tiny(work, SPIN, "-smp", "4") as tiny:
            deadline = time.monotonic() + delay / 1000
            while time.monotonic() < deadline:
                pass
            tiny.process.terminate()
            status = tiny.wait()
            # Until it has taken the signal over, the kernel ends it, as any program; then there is no socket yet.
            assert status in (0, -signal.SIGTERM), (delay, status, tiny.errors)
            if status == 0:
                tiny.check_end()
            else:
                Path(tiny.qmp_path).unlink(missing_ok=True)


def test_killed_process_leaves_no_machine(work):
    with Tiny(work, SPIN, "-smp", "2") as tiny:
        tiny.qmp.execute("query-status")
        pid = tiny.process.pid
        tiny.process.kill()
        tiny.process.wait()
        assert gone(pid)
    # What it could not clear away does not hold up the next one at that address.
    with Tiny(work, qmp=f"unix:{tiny.qmp_path},server,nowait") as again:
        again.qmp_path = tiny.qmp_path
        tiny = again
        tiny.qmp.execute("quit")
        tiny.check_end()


# MARK: Pausing


def test_created_paused(work):
    with Tiny(work, COUNT, "-S") as tiny:
        status = tiny.qmp.execute("query-status")
        assert not status["running"], status
        assert not tiny._read(0) or tiny.output == ""
        tiny.qmp.execute("cont")
        tiny.expect("0123456789")
        assert tiny.output.startswith("0123"), tiny.output
        assert tiny.qmp.execute("query-status") == {"running": True, "singlestep": False, "status": "running"}
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_pause_stops_the_guest(work):
    """After `stop` has answered, nothing comes out of a guest that never stops counting; `cont` goes on in place."""
    with Tiny(work, COUNT, serial=f"file,path={work}/output") as tiny:
        output = work / "output"

        def grown(size):
            deadline = time.monotonic() + PATIENCE
            while output.stat().st_size <= size:
                assert time.monotonic() < deadline, "nothing comes out of the guest"
                time.sleep(0.001)

        assert tiny.qmp.execute("query-status")["running"]
        for _ in range(20):
            grown(output.stat().st_size)
            tiny.qmp.execute("stop")
            assert tiny.qmp.execute("query-status") == {"running": False, "singlestep": False, "status": "paused"}
            before = output.stat().st_size
            used = cpu_time(tiny.process.pid)
            time.sleep(0.02)
            assert output.stat().st_size == before
            assert cpu_time(tiny.process.pid) - used <= 1, "a paused machine works"
            tiny.qmp.execute("cont")
        grown(output.stat().st_size)
        tiny.qmp.execute("quit")
        names = [name for name, _ in events_until_end(tiny.qmp)]
        assert names == ["STOP", "RESUME"] * 20 + ["SHUTDOWN"], names
        tiny.check_end(left=["output"])
        # Nothing was lost and nothing doubled on the way.
        text = output.read_bytes()
        assert text == bytes(0x30 + index % 64 for index in range(len(text)))


def cpu_time(pid):
    """A process's processor time so far, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_pause_and_go_on_are_idempotent(work):
    """The second of two equal commands succeeds, and nothing has happened."""
    with Tiny(work, SPIN, "-smp", "2") as tiny:
        for command, running in (("cont", True), ("stop", False), ("cont", True)):
            for _ in range(2):
                assert tiny.qmp.execute(command) == {}
                assert tiny.qmp.execute("query-status")["running"] == running
        tiny.qmp.execute("quit")
        names = [name for name, _ in events_until_end(tiny.qmp)]
        assert names == ["STOP", "RESUME", "SHUTDOWN"], names
        tiny.check_end()
    # One that waits for its first instruction is paused already.
    with Tiny(work, IDLE, "-S") as tiny:
        assert tiny.qmp.execute("stop") == {}
        tiny.qmp.execute("quit")
        assert [name for name, _ in events_until_end(tiny.qmp)] == ["SHUTDOWN"]
        tiny.check_end()


def test_idle_machine_costs_nothing(work):
    with Tiny(work, IDLE, "-smp", "4") as tiny:
        tiny.qmp.execute("query-status")
        used = cpu_time(tiny.process.pid)
        time.sleep(0.3)
        assert cpu_time(tiny.process.pid) - used <= 1
        tiny.qmp.execute("quit")
        tiny.check_end()


# MARK: In the background


def daemon(work, *options, code=IDLE, **more):
    """Starts a daemon; what its parent said and its status."""
    return subprocess.run(
        [APUS, *Tiny.files(work, code), "-daemonize", *options],
        capture_output=True, stdin=subprocess.DEVNULL, text=True, cwd=work, timeout=60, **more,
    )


def test_daemon(work):
    options = ["-pidfile", f"{work}/pid", "-D", f"{work}/log", "-qmp", f"unix:{work}/qmp,server,nowait"]
    options += ["-serial", f"file,path={work}/output", "-name", "in-the-background"]
    ran = daemon(work, *options, code=COUNT)
    # Its output was read to the end: the daemon has none of these pipes.
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), ran
    # Status 0 means that it is there and runs.
    text = (work / "pid").read_text()
    pid = int(text)
    assert text == str(pid) and (work / "pid").stat().st_mode & 0o777 == 0o600
    try:
        assert Path(f"/proc/{pid}/exe").resolve() == Path(APUS).resolve()
        assert os.getsid(pid) not in (os.getsid(0), pid), "a session of its own, but not its leader"
        files = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
        assert files == {"/dev/null"}, files
        socket.socket(socket.AF_UNIX).connect(str(work / "qmp"))
        qmp = QMP(str(work / "qmp"))
        assert qmp.execute("query-status")["running"]
        assert qmp.execute("query-name") == {"name": "in-the-background"}
        # A second one with that pidfile does not start, and does not take it away.
        again = daemon(work, "-pidfile", f"{work}/pid", "-qmp", f"unix:{work}/qmp-2,server,nowait")
        wanted = f"apus: -pidfile {work}/pid: the file exists; remove it if no machine uses it\n"
        assert (again.returncode, again.stdout, again.stderr) == (1, "", wanted), again
        assert (work / "pid").read_text() == text
        qmp.execute("quit")
        assert [name for name, _ in events_until_end(qmp)] == ["SHUTDOWN"]
        wait_until(lambda: gone(pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    left = {path.name for path in work.iterdir()}
    assert left == {"kernel", "initrd", "log", "output"}, left
    log = (work / "log").read_text()
    assert "INFO machine: running\n" in log and "INFO machine: ended by quit\n" in log, log


def test_daemon_that_cannot_start(work):
    before = set(os.listdir(work))
    qmp = ["-qmp", f"unix:{work}/qmp,server,nowait", "-pidfile", f"{work}/pid"]
    cases = {
        f"-serial: cannot write to '{work}/nope/output': No such file or directory": [
            *qmp, "-serial", f"file,path={work}/nope/output",
        ],
        "-qmp: cannot listen at unix:/nope/qmp: No such file or directory": ["-qmp", "unix:/nope/qmp,server,nowait"],
        "-D /nope/log: cannot open the log: No such file or directory": [*qmp, "-D", "/nope/log"],
    }
    for message, options in cases.items():
        ran = daemon(work, *options)
        assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"apus: {message}\n"), ran
        assert set(os.listdir(work)) - before <= {"kernel", "initrd"}, os.listdir(work)


def test_daemon_ended_by_signal(work):
    assert daemon(work, "-pidfile", f"{work}/pid", "-qmp", f"unix:{work}/qmp,server,nowait").returncode == 0
    pid = int((work / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid))
    assert set(os.listdir(work)) == {"kernel", "initrd"}


def wait_until(condition, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_log_file_is_added_to(work):
    (work / "log").write_text("what was there before\n")
    with Tiny(work, ENDS["triple fault"][0], "-D", f"{work}/log") as tiny:
        tiny.check_end(left=["log"])
        log = (work / "log").read_text()
        assert log.startswith("what was there before\n") and "triple fault" in log, log
        assert tiny.errors == "", tiny.errors


# MARK: The terminal


class Terminal:
    """apus with a guest on a pseudo-terminal, as in a shell."""

    def __init__(self, work, code):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        command = [APUS, *Tiny.files(work, code), "-qmp", f"unix:{work}/qmp,server,nowait", "-serial", "stdio"]
        self.errors = open(work / "errors-terminal", "w+")
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=self.errors, start_new_session=True)

    def read(self, count):
        data = b""
        while len(data) < count:
            assert select.select([self.master], [], [], PATIENCE)[0], data
            data += os.read(self.master, count - len(data))
        return data

    def check_end(self):
        assert self.process.wait(PATIENCE) == 0
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def test_terminal_is_raw_and_then_restored(work):
    ends = {
        "quit": lambda shown: QMP(f"{work}/qmp").execute("quit"),
        "SIGTERM": lambda shown: shown.process.terminate(),
        "SIGINT": lambda shown: shown.process.send_signal(signal.SIGINT),
        "SIGHUP": lambda shown: shown.process.send_signal(signal.SIGHUP),
    }
    for way, end in ends.items():
        with Terminal(work, ECHO) as shown:
            # Control characters are the guest's, each once: no line to be ended, no echo but the guest's, no signal.
            wait_until(lambda: not termios.tcgetattr(shown.slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG))
            os.write(shown.master, b"ab\x03\x04\x1a\x1c\r\x7f")
            assert shown.read(8) == b"ab\x03\x04\x1a\x1c\r\x7f", way
            end(shown)
            shown.check_end()


def test_terminal_is_restored_when_the_guest_ends(work):
    for code, _ in ENDS.values():
        with Terminal(work, code) as shown:
            shown.check_end()


def test_terminal_is_restored_when_the_start_fails(work):
    # The image is locked by another machine, which is found out last of all.
    (work / "image").write_bytes(bytes(4096))
    drive = ["-drive", f"id=a,file={work}/image,direct=off", "-device", "virtio-blk-device,drive=a"]
    with Tiny(work, IDLE, *drive) as tiny:
        tiny.qmp.execute("query-status")
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        command = [APUS, *Tiny.files(work), *drive, "-qmp", f"unix:{work}/qmp,server,nowait", "-serial", "stdio"]
        ran = subprocess.run(command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert ran.returncode == 1 and "lock" in ran.stderr, ran
        assert termios.tcgetattr(slave) == before
        os.close(master)
        os.close(slave)
        tiny.qmp.execute("quit")
        tiny.check_end(left=["image"])


def test_input_from_nowhere(work):
    """Standard input that is closed, empty, or goes away: the guest goes on."""
    for stdin in (subprocess.DEVNULL, subprocess.PIPE):
        with Tiny(work, COUNT, stdin=stdin) as tiny:
            if tiny.process.stdin:
                tiny.process.stdin.close()
            tiny.expect("0123456789")
            tiny.expect("0123456789")
            tiny.qmp.execute("quit")
            tiny.check_end()


def test_output_to_nowhere(work):
    # Who reads the console goes away: the machine goes on, and can be ended.
    with Tiny(work, COUNT) as tiny:
        tiny.expect("0123456789")
        tiny.process.stdout.close()
        for _ in range(3):
            assert tiny.qmp.execute("query-status")["running"]
        tiny.qmp.execute("quit")
        assert tiny.process.wait(PATIENCE) == 0
        assert "Fatal" not in tiny.errors, tiny.errors


def test_output_that_is_not_taken(work):
    # The pipe is full, and the guest has more to say: QMP answers all the same, and the end is prompt.
    with Tiny(work, COUNT) as tiny:
        tiny.expect("0123456789")
        for _ in range(20):
            assert tiny.qmp.execute("query-status")["running"]
        tiny.qmp.execute("stop")
        tiny.qmp.execute("cont")
        tiny.qmp.execute("quit")
        assert tiny.process.wait(PATIENCE) == 0


# MARK: Threads


def test_threads_are_named(work):
    options = ["-smp", "2", "-object", "iothread,id=disk-io", "iothread,id=other"]
    with Tiny(work, IDLE, *options) as tiny:
        listed = {thread["id"]: thread["thread-id"] for thread in tiny.qmp.execute("query-iothreads")}
        assert set(listed) == {"disk-io", "other"}
        names = threads(tiny.process.pid)
        for name, number in listed.items():
            assert names[number] == name, (names, listed)
        for cpu in tiny.qmp.execute("query-cpus"):
            assert names[cpu["thread_id"]] == f"CPU {cpu['CPU']}/KVM", names
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_most_vcpus(work):
    with Tiny(work, SPIN, "-smp", "254") as tiny:
        cpus = tiny.qmp.execute("query-cpus")
        assert [cpu["CPU"] for cpu in cpus] == list(range(254))
        names = threads(tiny.process.pid)
        numbers = {cpu["thread_id"] for cpu in cpus}
        assert len(numbers) == 254 and numbers <= set(names)
        tiny.qmp.execute("stop")
        tiny.qmp.execute("cont")
        tiny.qmp.execute("quit")
        tiny.check_end()
