"""QMP under those who mean it no good, and under those who ask very often."""

import json
import os
import random
import socket
import time

from monitor import PATIENCE, QMP
from tiny import IDLE, SPIN, Tiny

# What the mutations begin with: every shape of command, and what is in them.
SEEDS = [
    b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":"a"}',
    b'{"execute":"query-status","id":17}',
    b'{"exec-oob":"query-yank","id":{"x":[1.5e3,null,true]}}',
    b'{"execute":"query-qmp-schema"}',
    b'{"execute":"blockdev-add","arguments":{"node-name":"d","file":{"driver":"file","filename":"/nowhere"}}}',
    b'{"execute":"device_add","arguments":{"id":"d","driver":"virtio-blk-mmio","addr":"0x1","romfile":""}}',
    b'{"execute":"device_del","arguments":{"id":"d"}}',
    b'{"execute":"query-stats","arguments":{"target":"device","providers":[{"provider":"apus","names":["x"]}]}}',
    b'{"execute":"human-monitor-command","arguments":{"command-line":"info snapshots"}}',
    b'{"execute":"qom-list","arguments":{"path":"/machine/peripheral"},"id":"\\ud83d\\ude00\\u00e9\\\\\\""}',
    b'{"execute":"query-balloon"}{"execute":"query-block"}',
    b'{"execute":"getfd","arguments":{"fdname":"x"}}',
]
WORDS = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b"\0", b"-", b"1e999", b"null", b"\xff", b"\\u0000"]


def mutate(generator, seed):
    text = bytearray(seed)
    for _ in range(generator.randint(1, 5)):
        place = generator.randrange(len(text) + 1)
        kind = generator.randrange(6)
        if kind == 0:
            text[place : place + 1] = bytes([generator.randrange(256)])
        elif kind == 1:
            del text[place : place + generator.randint(1, 8)]
        elif kind == 2:
            text[place:place] = generator.choice(WORDS)
        elif kind == 3:
            text[place:place] = text[: generator.randint(0, 40)]
        elif kind == 4:
            text[place:place] = str(generator.choice([0, -1, 1 << 63, 1 << 64, 1.5])).encode()
        else:
            del text[place:]
    return bytes(text)


def resident(pid):
    """Memory of a process, in bytes."""
    return int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_time(pid):
    """A process's processor time so far, in hundredths of a second."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class Fuzzer:
    """A connection that sends mutations and takes what comes, without waiting for it."""

    def __init__(self, path, generator):
        self.path, self.generator = path, generator
        self.line = self.rest = None
        self.sent = self.answers = 0
        self.connect()

    def connect(self):
        if self.line:
            self.line.close()
        self.line = socket.socket(socket.AF_UNIX)
        self.line.settimeout(PATIENCE)
        self.line.connect(self.path)
        self.line.setblocking(False)
        self.rest = b""

    def send(self, count):
        # Each ends in a line feed, at which the next is understood again.
        text = b"".join(mutate(self.generator, self.generator.choice(SEEDS)) + b"\n" for _ in range(count))
        # None of them may end the machine, or let it stand still.
        for word in (b'"quit"', b'"stop"', b'"system_reset"', b'"system_powerdown"'):
            text = text.replace(word, b'"query-kvm"')
        self.sent += count
        deadline = time.monotonic() + PATIENCE
        while text:
            assert time.monotonic() < deadline, "it takes no more"
            try:
                text = text[self.line.send(text) :]
            except BlockingIOError:
                pass
            self.receive()

    def receive(self):
        try:
            self.rest += self.line.recv(1 << 20)
        except BlockingIOError:
            return
        *lines, self.rest = self.rest.split(b"\n")
        self.answers += len(lines)
        for line in lines:
            # Whatever was asked, it is answered in whole lines of JSON.
            assert json.loads(line).keys() & {"return", "error", "event", "QMP"}, line


def test_mutated_commands_hurt_nobody(work):
    """10^5 of them on three connections that come and go: no crash, no growth, and a good client beside them is
    served as ever."""
    generator = random.Random(4)
    with Tiny(work, SPIN, "-object", "iothread,id=io0") as tiny:
        good = tiny.qmp
        fuzzers = [Fuzzer(tiny.qmp_path, generator) for _ in range(3)]
        early = longest = 0
        while sum(fuzzer.sent for fuzzer in fuzzers) < 100_000:
            for fuzzer in fuzzers:
                fuzzer.send(100)
                if generator.randrange(20) == 0:
                    fuzzer.connect()
            began = time.monotonic()
            assert good.execute("query-kvm") == {"enabled": True, "present": True}
            longest = max(longest, time.monotonic() - began)
            if not early and sum(fuzzer.sent for fuzzer in fuzzers) >= 20_000:
                early = resident(tiny.process.pid)
        assert resident(tiny.process.pid) < early + (2 << 20), (early, resident(tiny.process.pid))
        # Answers that a connection has not read at its end are lost, on a busy host more of them.
        assert sum(fuzzer.answers for fuzzer in fuzzers) > 20_000
        # They ask for as much as one turn may give each; the good client's question is still but one of a few.
        assert longest < 2, longest
        for fuzzer in fuzzers:
            fuzzer.line.close()
        assert good.execute("query-status")["running"]
        good.execute("quit")
        tiny.check_end()


def ask_often(line, command, count):
    """Sends a command many times without waiting for answers, and counts these."""
    batch = 500
    text = command * batch
    for _ in range(count // batch):
        line.sendall(text)
        answers = 0
        while answers < batch:
            data = line.recv(1 << 20)
            assert data, "it has closed the connection"
            answers += data.count(b"\n")
        assert answers == batch


def test_a_question_costs_nothing_that_stays(work):
    """10^6 times query-status, and not a page more in use than after the first 10^5."""
    with Tiny(work, IDLE) as tiny:
        tiny.qmp.execute("query-status")
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(PATIENCE)
        line.connect(tiny.qmp_path)
        assert b"QMP" in line.recv(65536)
        command = b'{"execute":"query-status"}'
        ask_often(line, command, 100_000)
        before = resident(tiny.process.pid)
        ask_often(line, command, 900_000)
        # The kernel counts pages by threads and in batches, so that it is exact to some 64 of them.
        assert resident(tiny.process.pid) <= before + (256 << 10), (before, resident(tiny.process.pid))
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_all_questions_cost_nothing_that_stays(work):
    with Tiny(work, IDLE, "-object", "iothread,id=io0") as tiny:
        qmp = tiny.qmp
        names = [command["name"] for command in qmp.execute("query-commands")]
        names = [name for name in names if name.startswith("query-") and name not in ("query-mem", "query-stats")]
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(PATIENCE)
        line.connect(tiny.qmp_path)
        assert b"QMP" in line.recv(65536)
        # As many as its bound on answers lets it run; the schema is the longest of them.
        text = b"".join(json.dumps({"execute": name}).encode() for name in names)
        count = len(names)

        def ask(rounds):
            for _ in range(rounds):
                line.sendall(text)
                answers = 0
                while answers < count:
                    answers += line.recv(1 << 20).count(b"\n")

        ask(50)
        before = resident(tiny.process.pid)
        ask(300)
        assert resident(tiny.process.pid) <= before + (512 << 10), (before, resident(tiny.process.pid))
        qmp.execute("quit")
        tiny.check_end()


def test_idle_clients_cost_nothing(work):
    """And they lock nobody out: one more takes the place of the one that has been idle longest."""
    with Tiny(work, IDLE) as tiny:
        tiny.qmp.execute("query-status")
        clients = [QMP(tiny.qmp_path) for _ in range(15)]
        before = cpu_time(tiny.process.pid)
        time.sleep(0.3)
        assert cpu_time(tiny.process.pid) - before <= 1
        tiny.qmp.execute("query-status")
        more = []
        for client in clients[:5]:
            more.append(QMP(tiny.qmp_path))
            assert more[-1].execute("query-status")["running"]
            assert client.socket.recv(1) == b""
        for client in clients[5:]:
            assert client.execute("query-status")["running"]
        tiny.qmp.execute("quit")
        tiny.check_end()
