"""hack/lab: what a command finds in there, what comes out, and that nothing is left behind."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness import TOP, Skip

LAB = str(TOP / "hack/lab")


def lab(*words, **options):
    if os.geteuid() != 0:
        raise Skip("the lab needs root")
    return subprocess.run([LAB, *words], capture_output=True, timeout=200, **options)


def descendants(pid):
    """The processes below one, by number, with their command lines."""
    found = {}
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in file.read().split():
            with open(f"/proc/{child}/cmdline") as line:
                found[int(child)] = line.read()
            found |= descendants(child)
    return found


class Started:
    """A lab in the background, whose command has said that it runs."""

    def __init__(self, work, command="echo running; sleep 600"):
        if os.geteuid() != 0:
            raise Skip("the lab needs root")
        self.cache = work / "cache"
        self.errors = open(work / "errors", "w+")
        self.process = subprocess.Popen([LAB, "sh", "-c", command], stdout=subprocess.PIPE, stderr=self.errors)
        line = self.process.stdout.readline()
        assert line == b"running\n", (line, self.said())
        self.below = descendants(self.process.pid)
        assert any("qemu" in line for line in self.below.values()), self.below

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def assert_nothing_left(self):
        deadline = time.monotonic() + 10
        while left := [pid for pid, line in self.below.items() if alive(pid, line)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def alive(pid, line):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read() == line
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_output_status_and_surroundings(work):
    kept = work / "kept"
    kept.mkdir()
    script = f"""
        head -c 2000000 /dev/urandom >{kept}/data; cat {kept}/data; echo lost >{work}/lost
        {{ ls /dev/kvm /dev/net/tun /dev/vhost-net /dev/vhost-vsock; pwd; echo "$IN_LAB $MARK"; unshare -Ur id -u
        stat -f -c %T "$TMPDIR"; cat <(echo substituted); wc -c; }} >&2
        kill -9 $$"""
    ran = lab("-w", str(kept), "bash", "-c", script, cwd=work, env=os.environ | {"MARK": "a b\nc"})
    said = ran.stderr.decode()
    assert ran.returncode == 137, said
    assert ran.stdout == (kept / "data").read_bytes()
    assert len(ran.stdout) == 2000000
    assert not (work / "lost").exists()
    expected = f"/dev/kvm\n/dev/net/tun\n/dev/vhost-net\n/dev/vhost-vsock\n{work}\n1 a b\nc\n0\next2/ext3\nsubstituted\n0\n"
    assert said.endswith(expected), said


def test_kvm_is_loaded_when_the_processors_speed_is_known(work):
    said = lab("dmesg").stdout.decode()
    measured, loaded = (re.search(text, said) for text in ("Switched to clocksource tsc\n", "kvm: Nested Virtualization"))
    assert measured and loaded and measured.start() < loaded.start(), said


def test_standard_input(work):
    data = os.urandom(1_000_000)
    ran = lab("-I", "cat", input=data)
    assert (ran.returncode, ran.stdout == data) == (0, True), ran.stderr


def test_time_limit(work):
    ran = lab("-t", "2", "sleep", "100")
    assert ran.returncode == 124
    assert b"not done within 2 s" in ran.stderr


def test_mistakes_are_told(work):
    for words, text in [
        ((), b"no command"),
        (("-c", "0", "true"), b"-c 0: give a number from 1"),
        (("-w", "/nosuch", "true"), b"-w /nosuch: no such directory"),
        (("-q", "true"), b"-q not recognized"),
    ]:
        ran = lab(*words)
        assert (ran.returncode, text in ran.stderr) == (125, True), (words, ran.stderr)


def test_unknown_command(work):
    ran = lab("nosuch-command")
    assert (ran.returncode, b"No such file" in ran.stderr) == (127, True), ran.stderr


def test_a_stalled_machine_is_started_again(work):
    one = Started(work, "echo running; sleep 8; echo done")
    machine = next(pid for pid, line in one.below.items() if line.startswith("qemu"))
    os.kill(machine, signal.SIGSTOP)
    output = one.process.communicate(timeout=150)[0]
    assert (one.process.returncode, output) == (0, b"running\ndone\n"), (output, one.said())
    assert "stalled while the command ran" in one.said()
    assert "starting it again (1 of 3)" in one.said()
    one.assert_nothing_left()


def test_termination_leaves_nothing(work):
    one = Started(work)
    one.process.terminate()
    assert one.process.wait(10) == 143
    one.assert_nothing_left()


def test_being_killed_leaves_no_process(work):
    one = Started(work)
    one.process.kill()
    one.process.wait()
    one.assert_nothing_left()


def test_terminal(work):
    if os.geteuid() != 0:
        raise Skip("the lab needs root")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(LAB, [LAB, "-I", "sh", "-c", "stty size; tty; read -r line; echo got-$line; exit 5"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    before = termios.tcgetattr(terminal)
    seen = b""

    def expect(pattern):
        nonlocal seen
        deadline = time.monotonic() + 120
        while not re.search(pattern, seen):
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)

    expect(rb"31 97\r\n/dev/pts/\d+\r\n")
    os.write(terminal, b"word\r")
    expect(rb"got-word\r\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert termios.tcgetattr(terminal) == before
