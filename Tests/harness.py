"""What every test that Tests/run runs can use, and what it says to Tests/run."""

from pathlib import Path

TOP = Path(__file__).resolve().parents[1]

# Whether to show what programs under test print, as they do.
verbose = False

_things = []


class Skip(Exception):
    """This machine cannot run the test; the text says why."""


def limit(seconds):
    """Gives a test another time limit than the usual one."""

    def mark(test):
        test.limit = seconds
        return test

    return mark


def keep(thing):
    """Has `thing.kill()` called when the test is over, and `thing.log()` shown if it failed."""
    _things.append(thing)


def end_all():
    """Ends all that a test started; its logs."""
    logs = []
    while _things:
        thing = _things.pop(0)
        thing.kill()
        logs.append(thing.log())
    return logs
