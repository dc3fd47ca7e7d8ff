"""`up`, `down`, `status` and `restart` of a whole cluster on this machine. See deploy/README.md."""

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from plan import REPOSITORY, Part, Plan
from process import Failed, Process, until

# A part that cannot work after this has failed. Three NATS servers on a busy machine need some seconds to elect.
READY = 60.0
# Options that make the plan: they hold for as long as the state does.
PLANNED = ("--base-port", "--free-ports", "--drain", "--sync", "--scrape")
STATE = REPOSITORY / "target" / "cluster"


def up() -> None:
    options = arguments(
        "Starts a whole Herald cluster on 127.0.0.1: three NATS servers, two routers, two gateways, haproxy, and Prometheus"
        " if it is installed. What runs already is left alone; what does not is started.",
        lambda parser: (
            parser.add_argument("--base-port", type=int, default=8000, help="first port (default: %(default)s)"),
            parser.add_argument("--free-ports", action="store_true", help="take whatever ports are free"),
            parser.add_argument("--drain", type=int, default=10, help="seconds of a gateway's drain (default: %(default)s)"),
            parser.add_argument("--sync", default="2m", help="NATS' sync_interval, or always (default: %(default)s); see deploy/nats/server.conf"),
            parser.add_argument("--scrape", type=int, default=10, help="seconds between Prometheus' looks (default: %(default)s)"),
            parser.add_argument("--bin-dir", type=Path, help="where the binaries are (default: target/release, built if missing)"),
        ),
    )
    with locked(options.state):
        if Plan.exists(options.state):
            plan = Plan(options.state)
            if asked := [option for option in PLANNED if any(word.split("=")[0] == option for word in sys.argv)]:
                print(f"{', '.join(asked)}: as first planned, until deploy/down --purge", file=sys.stderr)
        else:
            base = None if options.free_ports else options.base_port
            plan = Plan.make(options.state, base, options.drain, options.scrape, options.sync)
        parts = plan.parts(binaries(options.bin_dir), nats_server())
        started: list[tuple[Part, Process]] = []
        try:
            start(plan, parts, started)
        except BaseException:
            # Not half a cluster, whatever it was.
            for part, process in reversed(started):
                process.stop(part.patience)
            raise
        welcome(plan, parts)


def start(plan: Plan, parts: list[Part], started: list[tuple[Part, Process]]) -> None:
    """NATS' servers are there together or not at all; and so for the rest, kind by kind."""
    plan.write_configurations()
    for kind in kinds(parts):
        for part in kind:
            process = Process(part.name, plan.folder)
            if process.pid() is None:
                process.start(part.command, part.environment)
                started.append((part, process))
        for part in kind:
            process = Process(part.name, plan.folder)
            if not until(lambda: process.pid() is None or answers(part.health)[0], READY):
                raise Failed(process, f"is not ready ({answers(part.health)[1]})")
            if process.pid() is None:
                raise Failed(process, "has ended")


def kinds(parts: list[Part]) -> list[list[Part]]:
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.name.split("-")[0], []).append(part)
    return list(groups.values())


def welcome(plan: Plan, parts: list[Part]) -> None:
    names = {part.name for part in parts}
    public = plan.address("public") if "haproxy" in names else plan.address("gateway-1")
    admin, config = plan.address("gateway-1-admin"), plan.state / "config" / "gateway-1.toml"
    gateway = next(part.command[0] for part in parts if part.name == "gateway-1")
    print(f"The cluster runs. State, logs and secrets: {plan.state}\n")
    for part in parts:
        print(f"  {part.name:<11} {part.health}")
    if "haproxy" not in names:
        print("  (haproxy is not installed: clients go to gateway-1 directly; Debian: apt-get install haproxy)")
    if "prometheus" not in names:
        print("  (prometheus is not installed; Debian: apt-get install prometheus)")
    print(
        f"\nClients connect to ws://{public}/ws. The server API is http://{admin}/api/v1, its key in"
        f" {plan.state}/secrets/api-key.\nTry it:\n\n"
        f"  token=$({gateway} token --config {config} --user bob)\n"
        f"  curl -N \"http://{public}/events?token=$token\"            # bob listens; then, elsewhere:\n"
        f"  curl -s http://{admin}/api/v1/messages -H \"Authorization: Bearer $(cat {plan.state}/secrets/api-key)\" \\\n"
        "    -d '{\"to\":{\"users\":[\"bob\"]},\"body\":\"hello\"}'\n"
        + (f"\nPrometheus: http://{plan.address('prometheus')}/alerts\n" if "prometheus" in names else "")
        + "\nThen: deploy/status, deploy/restart gateway-1, deploy/down"
        + (f" (each with --state {plan.state})" if plan.state != STATE else "")
    )


def down() -> None:
    options = arguments(
        "Ends what `up` started, and nothing else.",
        lambda parser: parser.add_argument("--purge", action="store_true", help="remove all state too: messages, secrets, logs"),
    )
    if not options.state.is_dir():
        print(f"nothing runs: there is no {options.state}")
        return
    with locked(options.state):
        if Plan.exists(options.state):
            plan = Plan(options.state)
            # Clients' way in first, then from them to NATS; equals together, for each gateway takes its time to drain.
            for kind in reversed(kinds(plan.parts(options.state, "nats-server"))):
                together([(part, Process(part.name, plan.folder)) for part in kind])
            # Those that are no longer installed.
            for note in plan.folder.glob("*.pid"):
                Process(note.stem, plan.folder).stop(10)
        if options.purge:
            shutil.rmtree(options.state)
    print("the cluster is down")


def together(parts: list[tuple[Part, Process]]) -> None:
    faults: list[Failed] = []

    def stop(part: Part, process: Process) -> None:
        try:
            process.stop(part.patience)
        except Failed as failed:
            faults.append(failed)

    threads = [threading.Thread(target=stop, args=one) for one in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def status() -> None:
    options = arguments("Says of each part whether it runs and is ready. Exit code 0: all are; 3: not.", lambda parser: None)
    if not Plan.exists(options.state):
        print(f"no cluster: there is no {options.state}/cluster.json")
        sys.exit(3)
    plan = Plan(options.state)
    good = True
    for part in plan.parts(options.state, "nats-server"):
        pid = Process(part.name, plan.folder).pid()
        ready, said = answers(part.health) if pid is not None else (False, "")
        good &= ready
        state = "down" if pid is None else "ready" if ready else "not ready"
        print(f"{part.name:<11} {state:<10} {pid or '-':<8} {part.health} {'' if ready else said}".rstrip())
    sys.exit(0 if good else 3)


def restart() -> None:
    options = arguments(
        "Restarts parts one after another, each once the one before is ready: a rolling restart. Names may be kinds"
        " (gateway, router, nats) or single parts (gateway-1).",
        lambda parser: (
            parser.add_argument("parts", nargs="+"),
            parser.add_argument("--bin-dir", type=Path, help="where the binaries are (default: target/release)"),
        ),
    )
    with locked(options.state):
        if not Plan.exists(options.state):
            sys.exit(f"no cluster: there is no {options.state}/cluster.json")
        plan = Plan(options.state)
        parts = plan.parts(binaries(options.bin_dir), nats_server())
        for wanted in options.parts:
            chosen = [part for part in parts if wanted in (part.name, part.name.split("-")[0])]
            if not chosen:
                sys.exit(f"there is no {wanted}; there are: {', '.join(part.name for part in parts)}")
            for part in chosen:
                Process(part.name, plan.folder).stop(part.patience)
                start(plan, [part], [])
                print(f"{part.name} has been restarted")


def arguments(description: str, more) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--state", type=Path, default=STATE, help="folder of all state (default: target/cluster)")
    more(parser)
    options = parser.parse_args()
    options.state = options.state.resolve()
    return options


@contextlib.contextmanager
def locked(state: Path):
    """One at a time: two that start at once would each start half."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(state / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def answers(url: str) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return answer.status == 200, ""
    except urllib.error.HTTPError as error:
        return False, error.read(200).decode(errors="replace").strip()
    except OSError as error:
        return False, str(error)


def binaries(folder: Path | None) -> Path:
    if folder is None:
        folder = REPOSITORY / "target" / "release"
        if not all((folder / name).is_file() for name in ("herald-gateway", "herald-router")):
            print("building the binaries", file=sys.stderr)
            build = ["cargo", "build", "--release", "-p", "herald-gateway", "-p", "herald-router", "--bins"]
            subprocess.run(build, cwd=REPOSITORY, check=True, stdout=sys.stderr)
    for name in ("herald-gateway", "herald-router"):
        if not (folder / name).is_file():
            sys.exit(f"there is no {name} in {folder}")
    return folder.resolve()


def nats_server() -> str:
    """As the tests find it: in $NATS_SERVER, on PATH, or installed from PyPI into target/."""
    finder = subprocess.run([REPOSITORY / "tests" / "find-nats"], check=True, stdout=subprocess.PIPE, text=True)
    return finder.stdout.strip()


def run(command) -> None:
    """An entry's whole work; faults that have a name are told without a trace."""
    os.umask(0o077)
    try:
        command()
    except Failed as failed:
        sys.exit(str(failed))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed with {error.returncode}")
