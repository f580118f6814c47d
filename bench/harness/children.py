"""Runs commands and says what they cost: CPU time, peak memory, time on the wall.

A process inherits the peak memory of the one that it was forked from, so that a big parent hides the memory of
a small child. That is why this file is also a program, a launcher that imports next to nothing: it forks, waits,
and writes the figures. Every measured command is started by a launcher of its own.
"""

import os
import signal
import sys
import time

# What a launcher adds to a time limit before the harness stops waiting for the launcher itself.
GRACE_SECONDS = 15


class Cost:
    """What a command cost, and how it ended."""

    def __init__(self, code, user, system, peak_kib, wall, timed_out):
        self.code = code
        self.user = user
        self.system = system
        self.cpu = user + system
        self.peak_kib = peak_kib
        self.wall = wall
        self.timed_out = timed_out

    @property
    def good(self):
        return self.code == 0 and not self.timed_out

    def why(self):
        return "ran out of time" if self.timed_out else f"ended with code {self.code}"


def run(argv, *, timeout, stdout=os.devnull, stderr=os.devnull, one_core=False, env=None):
    """Runs `argv`, killed with all its children after `timeout` seconds; gives its `Cost`."""
    import subprocess

    launcher = [sys.executable, "-I", "-S", "-B", os.path.abspath(__file__), str(timeout),
                "1" if one_core else "0", str(stdout), str(stderr)]
    process = subprocess.Popen(launcher + [str(word) for word in argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True, env=env)
    try:
        text, _ = process.communicate(timeout=timeout + GRACE_SECONDS)
    except BaseException:
        # The launcher takes its command with it.
        process.terminate()
        process.wait()
        raise
    words = text.split()
    if len(words) != 6:
        raise RuntimeError(f"cannot start {argv[0]}")
    code, user, system, peak, wall, timed_out = words
    return Cost(int(code), float(user), float(system), int(peak), float(wall), timed_out == "1")


def launch(timeout, one_core, stdout, stderr, argv):
    """The launcher: runs `argv` in a group of its own and prints what it cost."""
    if one_core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    child = 0
    expired = False

    def stop(number, _frame):
        nonlocal expired
        expired = number == signal.SIGALRM
        if child:
            os.killpg(child, signal.SIGKILL)
        if not expired:
            os._exit(1)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            for path, number in ((stdout, 1), (stderr, 2)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
        os._exit(127)
    try:
        os.setpgid(child, child)
    except OSError:
        # It has done so itself already.
        pass
    signal.setitimer(signal.ITIMER_REAL, timeout)
    _, status, usage = os.wait4(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    wall = time.monotonic() - began
    try:
        # Whatever it left behind.
        os.killpg(child, signal.SIGKILL)
    except OSError:
        pass
    code = os.waitstatus_to_exitcode(status)
    print(code, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, wall, int(expired))


if __name__ == "__main__":
    launch(float(sys.argv[1]), sys.argv[2] == "1", sys.argv[3], sys.argv[4], sys.argv[5:])
