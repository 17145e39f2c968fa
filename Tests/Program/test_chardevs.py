"""Where a machine's characters go: every backend from end to end, and host sides that are slow, gone, or not there yet."""

import os
import re
import select
import socket
import threading
import time
from pathlib import Path

from tiny import COUNT, ECHO, IDLE, PATIENCE, Tiny

# mov $0x3f8, %dx; 1: lea 2f(%rip), %rsi; mov $4096, %ecx; rep outsb; jmp 1b; 2: 0 to 255, again and again
FLOOD = b"\x66\xba\xf8\x03\x48\x8d\x35\x09\x00\x00\x00\xb9\x00\x10\x00\x00\xf3\x6e\xeb\xf0" + bytes(range(256)) * 16


def free_port():
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(tiny, address):
    """A connection to a backend, which is there as soon as QMP answers."""
    assert tiny.qmp
    client = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    client.connect(address)
    return client


def receive(client, count):
    """That many bytes from a connection or terminal."""
    data = b""
    descriptor = client if isinstance(client, int) else client.fileno()
    while len(data) < count:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"{len(data)} bytes of {count} came"
        more = os.read(descriptor, count - len(data))
        assert more, f"the end came after {len(data)} bytes of {count}"
        data += more
    return data


def silent(client, seconds=0.1):
    return not select.select([client], [], [], seconds)[0]


def backends(tiny):
    """What query-chardev says, by label."""
    listed = tiny.qmp.execute("query-chardev")
    return {each["label"]: (each["filename"], each["frontend-open"]) for each in listed}


def memory(tiny):
    """The process's own memory that is resident, in KiB, without the guest's, which is shared."""
    status = Path(f"/proc/{tiny.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


def descriptors(tiny):
    return len(os.listdir(f"/proc/{tiny.process.pid}/fd"))


def pairs(work, port):
    """Backends that go both ways: -chardev's words without the id, what query-chardev says, and how to get there."""
    return {
        "pty": ("pty:/dev/pts/", None),
        f"socket,path={work}/con,server,nowait": (f"unix:{work}/con,server=on", str(work / "con")),
        f"socket,host=127.0.0.1,port={port},server,nowait": (
            f"tcp:127.0.0.1:{port},server=on", ("127.0.0.1", port),
        ),
        f"socket,port={port},server,nowait": (f"tcp:0.0.0.0:{port},server=on", ("127.0.0.1", port)),
    }


# MARK: Each backend


def test_backends_that_go_both_ways(work):
    """By themselves behind -serial, and as -chardev, which may stand before and after what uses it."""
    for words, (name, address) in pairs(work, free_port()).items():
        kind, _, rest = words.partition(",")
        chardev = ["-chardev", f"{kind},id=con0{rest and ',' + rest}"]
        forms = {
            "serial_chardev": ("serial", words, []),
            "con0": ("serial", "chardev:con0", chardev),
        }
        for label, (_, serial, options) in forms.items():
            with Tiny(work, ECHO, *options, serial=serial) as tiny:
                filename, is_open = backends(tiny)[label]
                assert is_open and filename.startswith(name), (words, filename)
                if address is None:
                    path = filename.removeprefix("pty:")
                    assert f"{label}: its terminal is {path}\n" in tiny.errors, tiny.errors
                    client = os.open(path, os.O_RDWR | os.O_NOCTTY)
                else:
                    assert filename == name
                    connection = connect(tiny, address)
                    client = connection.detach()
                os.write(client, b"hello\x03\x04\r\x00\xff")
                assert receive(client, 10) == b"hello\x03\x04\r\x00\xff", words
                os.close(client)
                tiny.qmp.execute("quit")
                tiny.check_end()


def test_standard_input_and_output_as_chardev(work):
    with Tiny(work, ECHO, "-chardev", "stdio,id=con0", serial="chardev:con0") as tiny:
        assert backends(tiny) == {"con0": ("stdio", True)}
        tiny.type("hello")
        tiny.expect("hello")
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_file(work):
    (work / "out").write_text("x" * 100)
    for serial, options in (
        (f"file,path={work}/out", []),
        ("chardev:con0", ["-chardev", f"file,id=con0,path={work}/out"]),
    ):
        with Tiny(work, COUNT, *options, serial=serial) as tiny:
            assert [name for name, _ in backends(tiny).values()] == [f"file:{work}/out"]
            deadline = time.monotonic() + PATIENCE
            while not (work / "out").read_text().startswith("0123456789"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            tiny.qmp.execute("quit")
            tiny.check_end(left=["out"])
        # Written over, never cut.
        assert (work / "out").stat().st_size >= 100
        (work / "out").write_text("x" * 100)


def test_log(work):
    code = FLOOD[:20] + b"0123456789 \n" * 400
    with Tiny(work, code, "-chardev", "redirect-to-log,id=guest", serial="chardev:guest") as tiny:
        assert backends(tiny) == {"guest": ("log", True)}
        deadline = time.monotonic() + PATIENCE
        while tiny.errors.count(" INFO guest: 0123456789 \n") < 100:
            assert time.monotonic() < deadline, tiny.errors
            time.sleep(0.01)
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_consoles_of_virtio(work):
    """A bus with a console and ports: all there before the guest knows, opened by nobody but the console."""
    options = ["-device", "virtio-serial-device", "virtconsole,chardev=hvc", "virtserialport,chardev=agent,id=org.agent"]
    options += ["-chardev", f"socket,id=hvc,path={work}/hvc,server,nowait"]
    options += ["-chardev", f"socket,id=agent,path={work}/agent,server,nowait"]
    with Tiny(work, IDLE, *options, serial=None) as tiny:
        assert backends(tiny) == {
            "hvc": (f"unix:{work}/hvc,server=on", True),
            "agent": (f"unix:{work}/agent,server=on", False),
        }
        console, agent = connect(tiny, f"{work}/hvc"), connect(tiny, f"{work}/agent")
        # What nobody takes stays with its sender.
        for client in (console, agent):
            client.setblocking(False)
            sent = 0
            try:
                while sent < 16 << 20:
                    sent += client.send(bytes(65536))
            except BlockingIOError:
                pass
            assert sent < 4 << 20, sent
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_backend_that_nobody_uses(work):
    """It is opened, and said to be of no use."""
    with Tiny(work, ECHO, "-chardev", f"socket,id=spare,path={work}/spare,server,nowait") as tiny:
        assert backends(tiny) == {
            "serial_chardev": ("stdio", True),
            "spare": (f"unix:{work}/spare,server=on", False),
        }
        assert "WARN spare: no device uses this chardev\n" in tiny.errors, tiny.errors
        assert silent(connect(tiny, f"{work}/spare"))
        tiny.type("hello")
        tiny.expect("hello")
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_monitor_is_a_backend_too(work):
    options = ["-chardev", f"socket,id=mon0,path={work}/mon,server,nowait", "-mon", "chardev=mon0,mode=control"]
    with Tiny(work, ECHO, *options) as tiny:
        assert backends(tiny)["mon0"] == (f"unix:{work}/mon,server=on", True)
        assert "WARN" not in tiny.errors, tiny.errors
        tiny.qmp.execute("quit")
        tiny.check_end()


# MARK: Who comes late, and who comes and goes


def counts_on(data):
    return all((a + 1) % 256 == b for a, b in zip(data, data[1:]))


def take_all(client):
    """What comes until nothing comes."""
    data = b""
    descriptor = client if isinstance(client, int) else client.fileno()
    while not silent(client):
        data += os.read(descriptor, 1 << 20)
    return data


def test_replay(work):
    """A client that comes late sees the last of what was said, if it is to; 64 KiB, and what the port had in hand."""
    for keys, is_shown in (("", True), (",replay=on", True), (",replay=off", False)):
        with Tiny(work, FLOOD, serial=f"socket,path={work}/con,server,nowait{keys}") as tiny:
            first = connect(tiny, f"{work}/con")
            receive(first, 80_000)
            tiny.qmp.execute("stop")
            take_all(first)
            first.close()
            for _ in range(3):
                late = connect(tiny, f"{work}/con")
                data = take_all(late)
                assert len(data) == (65536 if is_shown else 0) and counts_on(data), len(data)
                late.close()
            tiny.qmp.execute("quit")
            tiny.check_end()


def test_reader_that_does_not_read(work):
    """It costs itself output, and nobody else anything."""
    with Tiny(work, FLOOD, serial="pty") as tiny:
        path = backends(tiny)["serial_chardev"][0].removeprefix("pty:")
        client = os.open(path, os.O_RDWR | os.O_NOCTTY)
        before, started = memory(tiny), time.monotonic()
        receive(client, 20_000)
        pace = (time.monotonic() - started) / 20_000
        # More than the terminal, the writer and the history hold.
        until = time.monotonic() + 300_000 * pace
        while time.monotonic() < until:
            assert tiny.qmp.execute("query-status")["running"]
            time.sleep(0.05)
        assert memory(tiny) - before < 1024, (before, memory(tiny))
        tiny.qmp.execute("stop")
        # When it reads again, what it gets ends with the newest.
        data = take_all(client)
        assert len(data) > 65536 and counts_on(data[-65536:]) and not counts_on(data), len(data)
        assert re.search(r"WARN serial_chardev: \d+ bytes of output were lost: their reader was too slow", tiny.errors)
        tiny.qmp.execute("cont")
        receive(client, 1000)
        os.close(client)
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_path_of_a_killed_machine(work):
    """The kernel may close its sockets some milliseconds after its end; the next machine waits for that."""
    serial = f"socket,path={work}/con,server,nowait"
    for _ in range(20):
        with Tiny(work, ECHO, serial=serial) as tiny:
            assert tiny.qmp.execute("query-status")["running"], tiny.errors
            connect(tiny, f"{work}/con").close()
            tiny.process.kill()
            tiny.process.wait()
    with Tiny(work, ECHO, serial=serial) as tiny:
        tiny.qmp.execute("quit")
        assert tiny.wait() == 0, tiny.errors


def test_a_thousand_clients(work):
    with Tiny(work, ECHO, serial=f"socket,path={work}/con,server,nowait") as tiny:
        for _ in range(10):
            connect(tiny, f"{work}/con").close()
        tiny.qmp.execute("query-status")
        files, before = descriptors(tiny), memory(tiny)
        for number in range(1000):
            client = connect(tiny, f"{work}/con")
            if number % 3 == 0:
                client.send(b"x")
            client.close()
        last = connect(tiny, f"{work}/con")
        last.send(b"<last>")
        data = b""
        while not data.endswith(b"<last>"):
            data += receive(last, 1)
        # The last one is there, and it has two.
        assert descriptors(tiny) <= files + 2, (files, descriptors(tiny))
        assert memory(tiny) - before < 512, (before, memory(tiny))
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_second_client_waits(work):
    with Tiny(work, ECHO, serial=f"socket,path={work}/con,server,nowait,replay=off") as tiny:
        first = connect(tiny, f"{work}/con")
        first.send(b"one")
        assert receive(first, 3) == b"one"
        second = connect(tiny, f"{work}/con")
        second.send(b"two")
        assert silent(second)
        first.send(b"still")
        assert receive(first, 5) == b"still"
        first.close()
        assert receive(second, 3) == b"two"
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_more_input_than_the_guest_takes(work):
    """Everything arrives, in order, as fast as the guest reads it."""
    with Tiny(work, ECHO, serial=f"socket,path={work}/con,server,nowait") as tiny:
        client = connect(tiny, f"{work}/con")
        before = memory(tiny)
        sent = os.urandom(60_000)
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert receive(client, len(sent)) == sent
        sender.join()
        assert memory(tiny) - before < 512
        tiny.qmp.execute("quit")
        tiny.check_end()
