"""Child processes that outlive this program: started once, known again later, ended only if they are ours."""

import os
import signal
import subprocess
import time
from pathlib import Path


def _born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; with its id this names it for good. None: no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


class Process:
    """One part of the cluster, by its name. Its id and birth are kept in `folder`, its output in `folder/NAME.log`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._note = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"

    def pid(self) -> int | None:
        """None where it does not run, or another process has got its number."""
        try:
            pid, born = self._note.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if _born(int(pid)) == born else None

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                # A Ctrl-C in the terminal is not meant for the cluster.
                start_new_session=True,
            )
        born = _born(child.pid)
        if born is None:
            raise Failed(self, "ended at once")
        self._note.write_text(f"{child.pid} {born}\n")

    def stop(self, patience: float) -> None:
        """Asks it to end, and insists when `patience` (seconds) is over."""
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
            pid = self.pid()
            if pid is None:
                break
            os.kill(pid, number)
            until(lambda: self.pid() is None, seconds)
        if self.pid() is not None:
            raise Failed(self, "does not end")
        self._note.unlink(missing_ok=True)

    def tail(self, lines: int = 12) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Failed(Exception):
    def __init__(self, process: Process, what: str) -> None:
        super().__init__(f"{process.name} {what}; the end of {process.log}:\n{process.tail()}")


def until(holds, seconds: float) -> bool:
    """Whether it comes to hold within this time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
