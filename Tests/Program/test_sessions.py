"""Several clients at a time, on several sockets: each has a conversation of its own, and all are told of events."""

import socket

from monitor import PATIENCE, QMP, QMPError
from tiny import COUNT, PANIC, SPIN, Tiny


def test_two_sockets(work):
    options = ["-chardev", f"socket,id=mon0,path={work}/mon,server,nowait", "-mon", "chardev=mon0,mode=control"]
    with Tiny(work, SPIN, *options) as tiny:
        first = [QMP(tiny.qmp_path) for _ in range(3)]
        second = [QMP(str(work / "mon")) for _ in range(3)]
        # What one agrees on is not agreed on with others.
        first[0].execute("qmp_capabilities", {"enable": ["oob"]})
        for client in (first[1], second[0]):
            client.send({"exec-oob": "query-yank", "id": 1})
            assert "agreed" in client.receive()["error"]["desc"]
        first[0].send({"exec-oob": "query-yank", "id": 1})
        assert first[0].receive() == {"return": [], "id": 1}
        # One that says nothing is told nothing; the others are told everything.
        silent = QMP(str(work / "mon"), negotiate=False)
        second[2].execute("stop")
        first[2].execute("cont")
        for client in first + second:
            client.wait_event("STOP")
            client.wait_event("RESUME")
        silent.socket.settimeout(0.05)
        try:
            raise AssertionError(silent.socket.recv(100))
        except TimeoutError:
            pass
        # What it has missed comes with its first answer.
        assert silent.execute("qmp_capabilities") == {}
        silent.wait_event("STOP")
        for client in second:
            client.close()
        first[1].execute("quit")
        for client in (*first, silent):
            assert client.wait_event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit"
        tiny.check_end()
        assert not (work / "mon").exists()


def test_slow_reader_holds_up_nobody(work):
    """It asks for much and reads nothing, on the other socket: events reach the rest, and it finds its own later."""
    options = ["-chardev", f"socket,id=mon0,path={work}/mon,server,nowait", "-mon", "chardev=mon0,mode=control"]
    with Tiny(work, SPIN, *options) as tiny:
        good = tiny.qmp
        slow = QMP(str(work / "mon"))
        slow.socket.settimeout(0.2)
        asked = 0
        try:
            while True:
                slow.socket.sendall(b'{"execute":"query-events"}\n' * 100)
                asked += 100
                assert asked < 100_000
        except TimeoutError:
            pass
        for _ in range(100):
            good.execute("stop")
            good.wait_event("STOP")
            good.execute("cont")
            good.wait_event("RESUME")
        # Now it reads, and finds whole answers, and of the events the last that are kept.
        slow.socket.shutdown(socket.SHUT_WR)
        events = answers = 0
        try:
            while True:
                message = slow.receive()
                answers += "return" in message
                events += "event" in message
        except EOFError:
            pass
        # What did not fit into the socket any more may have been cut off.
        assert answers >= asked and 50 <= events <= 200, (answers, asked, events)
        good.execute("quit")
        tiny.check_end()


def test_a_panic_is_told_to_who_comes_late(work):
    with Tiny(work, PANIC + COUNT) as tiny:
        tiny.expect("0123456789")
        status = {"running": True, "singlestep": False, "status": "guest-panicked"}
        assert tiny.qmp.execute("query-status") == status
        tiny.qmp.execute("stop")
        assert tiny.qmp.execute("query-status")["status"] == "paused"
        tiny.qmp.execute("cont")
        assert tiny.qmp.execute("query-status") == status
        assert [event["event"] for event in tiny.qmp.events].count("GUEST_PANICKED") == 0
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_yank(work):
    """Who sits on the serial port's socket is thrown out, out of band as well; the next may come."""
    with Tiny(work, COUNT, serial=f"socket,path={work}/serial,server,nowait") as tiny:
        qmp = tiny.qmp
        qmp.execute("qmp_capabilities", {"enable": ["oob"]})
        [device] = qmp.execute("query-chardev")
        instance = {"type": "chardev", "id": device["label"]}
        assert qmp.execute("query-yank") == [instance]
        for key in ("execute", "exec-oob"):
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(PATIENCE)
            line.connect(f"{work}/serial")
            assert line.recv(1)
            qmp.send({key: "yank", "arguments": {"instances": [instance]}, "id": key})
            assert qmp.receive() == {"return": {}, "id": key}
            while line.recv(65536):
                pass
        # Nobody is there now, which is no error.
        assert qmp.execute("yank", {"instances": [instance]}) == {}
        try:
            qmp.execute("yank", {"instances": [instance, {"type": "chardev", "id": "other"}]})
            raise AssertionError("it was not refused")
        except QMPError as error:
            assert error.kind == "DeviceNotFound", error
        qmp.execute("quit")
        tiny.check_end()
