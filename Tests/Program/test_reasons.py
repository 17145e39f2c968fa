"""Why a machine has ended: its events, the last line of its log, and the exit status say the same, for every row of the
table in UsingFromAShim.md."""

import contextlib
import re
import signal
import subprocess

from harness import TOP
from monitor import APUS
from tiny import ACPI_RESET, CRASH_LOADED, IDLE, KEYBOARD_RESET, NOWHERE, PANIC, POWER_OFF, TRIPLE_FAULT, Tiny

# What the guest does, what is done to the machine, the events after RESUME, the reason, the last line of the log, the
# exit status.
ROWS = [
    (POWER_OFF, None, ["SHUTDOWN"], "guest-shutdown", "the guest powered off", 0),
    (ACPI_RESET, None, ["RESET", "SHUTDOWN"], "guest-shutdown", "the guest reset itself", 0),
    (KEYBOARD_RESET, None, ["RESET", "SHUTDOWN"], "guest-shutdown", "the guest reset itself", 0),
    (TRIPLE_FAULT, None, ["RESET", "SHUTDOWN"], "guest-shutdown", "the guest ended in a triple fault", 0),
    (
        PANIC + POWER_OFF, None, ["GUEST_PANICKED", "SHUTDOWN"], "guest-panic",
        "the guest's kernel panicked, and the guest powered off", 0,
    ),
    (
        PANIC + ACPI_RESET, None, ["GUEST_PANICKED", "RESET", "SHUTDOWN"], "guest-panic",
        "the guest's kernel panicked, and the guest reset itself", 0,
    ),
    (
        PANIC + TRIPLE_FAULT, None, ["GUEST_PANICKED", "RESET", "SHUTDOWN"], "guest-panic",
        "the guest's kernel panicked, and the guest reset itself", 0,
    ),
    (
        CRASH_LOADED + POWER_OFF, None, ["GUEST_CRASHLOADED", "SHUTDOWN"], "guest-shutdown",
        "the guest powered off", 0,
    ),
    (
        CRASH_LOADED + PANIC + POWER_OFF, None, ["GUEST_CRASHLOADED", "GUEST_PANICKED", "SHUTDOWN"], "guest-panic",
        "the guest's kernel panicked, and the guest powered off", 0,
    ),
    (IDLE, "quit", ["SHUTDOWN"], "host-qmp-quit", "ended by quit", 0),
    (PANIC + IDLE, "quit", ["GUEST_PANICKED", "SHUTDOWN"], "host-qmp-quit", "ended by quit", 0),
    (
        IDLE, "system_powerdown", ["POWERDOWN", "SHUTDOWN"], "host-qmp-system-powerdown",
        "ended by system_powerdown", 0,
    ),
    (IDLE, "system_reset", ["RESET", "SHUTDOWN"], "host-qmp-system-reset", "ended by system_reset", 0),
    (IDLE, signal.SIGTERM, ["SHUTDOWN"], "Guest shutdown by signal 15", "ended by signal 15", 0),
    (IDLE, signal.SIGINT, ["SHUTDOWN"], "Guest shutdown by signal 2", "ended by signal 2", 0),
    (IDLE, signal.SIGHUP, ["SHUTDOWN"], "Guest shutdown by signal 1", "ended by signal 1", 0),
    (NOWHERE, None, ["SHUTDOWN"], "internal-error", "lost: vCPU 0 cannot go on", 2),
]


def test_every_reason(work):
    for number, (code, action, names, reason, last, status) in enumerate(ROWS):
        folder = work / str(number)
        folder.mkdir()
        with Tiny(folder, code, "-S") as tiny:
            qmp = tiny.qmp
            qmp.execute("cont")
            qmp.wait_event("RESUME")
            early = []
            if names[0] == "GUEST_PANICKED" and action:
                early = [qmp.wait_event("GUEST_PANICKED")]
                assert qmp.execute("query-status") == {
                    "running": True, "singlestep": False, "status": "guest-panicked",
                }
            if isinstance(action, signal.Signals):
                tiny.process.send_signal(action)
            elif action:
                qmp.execute(action)
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    qmp.events.append(qmp.receive())
            events = early + qmp.events
            assert [event["event"] for event in events] == names, (reason, events)
            guest = reason.startswith("guest-")
            assert events[-1]["data"] == {"guest": guest, "reason": reason}, (reason, events)
            for event in events:
                if event["event"] == "RESET":
                    assert event["data"] == {"guest": guest}, event
                if event["event"] in ("GUEST_PANICKED", "GUEST_CRASHLOADED"):
                    assert event["data"] == {"action": "run"}, event
            tiny.check_end(status)
            lines = tiny.errors.splitlines()
            level = "INFO" if status == 0 else "ERROR"
            assert re.search(rf" {level} machine: {re.escape(last)}", lines[-1]), (reason, lines)


def test_a_machine_that_cannot_start(work):
    ran = subprocess.run(
        [APUS, "-kernel", f"{work}/none", "-initrd", f"{work}/none", "-qmp", f"unix:{work}/qmp,server,nowait"], capture_output=True, text=True,
        timeout=60,
    )
    assert ran.returncode == 1 and ran.stderr.splitlines()[-1].startswith("apus: -kernel"), ran
    assert not list(work.iterdir())


def test_the_table_has_every_row(work):
    """The documentation's table names each reason with its events and its status."""
    text = (TOP / "Sources/apus/apus.docc/UsingFromAShim.md").read_text()
    for code, action, names, reason, last, status in ROWS:
        reason = re.sub(r"signal \d+", "signal N", reason)
        pattern = rf"^\|[^|]*\|([^|]*)\| `{re.escape(reason)}` \| {status} \|$"
        rows = re.findall(pattern, text, re.MULTILINE)
        told = [set(re.findall("[A-Z_]{4,}", row)) for row in rows]
        # A panic ends nothing by itself.
        names = set(names) - {"GUEST_CRASHLOADED", "GUEST_PANICKED"}
        assert any(names <= row for row in told), (reason, names, rows)
