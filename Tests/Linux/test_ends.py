"""How a stock kernel ends its machine, on every kind of console."""

import os
import re
import socket
import time

from guest import PATIENCE, PROMPT, Guest


def check_end(guest, events, command):
    """Has the guest end its machine, and sees what clients are told."""
    qmp = guest.qmp
    guest.expect(PROMPT)
    guest.type(command + "\n")
    for name in events:
        data = qmp.wait_event(name)["data"]
        assert data["guest"] is True, (name, data)
    assert data["reason"] == "guest-shutdown", data
    assert guest.wait() == 0, guest.errors


def test_power_off_from_a_pty(work):
    with Guest(work, serial="pty") as guest:
        assert guest.qmp.execute("query-status")["running"]
        [device] = guest.qmp.execute("query-chardev")
        path = device["filename"].removeprefix("pty:")
        assert re.fullmatch(r"/dev/pts/\d+", path), device
        guest.use_console(os.open(path, os.O_RDWR | os.O_NOCTTY))
        assert guest.shell("echo $((6 * 7))").strip() == "42"
        check_end(guest, ["SHUTDOWN"], "poweroff -f")


def test_reboot_by_acpi_from_a_socket(work):
    with Guest(work, serial=f"socket,path={work}/console,server,nowait") as guest:
        assert guest.qmp.execute("query-status")["running"]
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(f"{work}/console")
            guest.use_console(line.fileno())
            assert guest.shell("echo $((6 * 7))").strip() == "42"
        # A client that goes away makes room for the next, who is shown what was said before.
        guest.output, guest._from = "", 0
        with socket.socket(socket.AF_UNIX) as line:
            deadline = time.monotonic() + PATIENCE
            line.connect(f"{work}/console")
            guest.use_console(line.fileno())
            guest.type("\n")
            guest.expect(r"\n42\n", deadline - time.monotonic())
            check_end(guest, ["RESET", "SHUTDOWN"], "reboot -f")
        assert not (work / "console").exists()


def test_reboot_by_the_keyboard_controller(work):
    with Guest(work, append="reboot=k") as guest:
        check_end(guest, ["RESET", "SHUTDOWN"], "reboot -f")


def test_panic(work):
    # `panic=-1`, as every guest here has it: reset at once.
    with Guest(work) as guest:
        check_end(guest, ["RESET", "SHUTDOWN"], "echo c >/proc/sysrq-trigger")
        assert "Kernel panic" in guest.output
