"""What the cluster on this machine consists of: names, ports, secrets, and each part's configuration."""

import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"

# Role, and its ports from the base (8000 unless said) upwards. README's examples know 8002 and 9002.
PORTS = {
    "public": 0,
    "haproxy-metrics": 404,
    # Not 9090, where Debian's package starts one.
    "prometheus": 1091,
    **{f"nats-{i}": 221 + i for i in (1, 2, 3)},
    **{f"nats-{i}-monitor": 231 + i for i in (1, 2, 3)},
    **{f"nats-{i}-cluster": 241 + i for i in (1, 2, 3)},
    "router-1": 1103,
    "router-2": 1104,
    "gateway-1": 2,
    "gateway-1-admin": 1002,
    "gateway-2": 12,
    "gateway-2-admin": 1012,
}
SECRETS = ("token", "api-key", "gateway", "router", "operator", "backend", "monitor", "routes")


@dataclass(frozen=True)
class Part:
    name: str
    command: list[str]
    environment: dict[str, str]
    # Answers 200 when it can work.
    health: str
    # Seconds that it may take to end by itself.
    patience: float


class Plan:
    """Kept in `state`: the same ports and secrets each time, until they are taken away with `down --purge`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "run"
        self._files: dict[Path, str] = {}
        kept = json.loads((state / "cluster.json").read_text())
        self.ports: dict[str, int] = kept["ports"]
        self.drain: int = kept["drain"]
        self.scrape: int = kept["scrape"]
        self.sync: str = kept["sync"]
        self.secrets: dict[str, str] = {
            name: (state / "secrets" / name).read_text() for name in SECRETS
        }

    @staticmethod
    def exists(state: Path) -> bool:
        return (state / "cluster.json").is_file()

    @classmethod
    def make(cls, state: Path, base: int | None, drain: int, scrape: int, sync: str) -> "Plan":
        """`base` None: whatever ports are free."""
        for folder in ("run", "secrets", "config"):
            (state / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in SECRETS:
            path = state / "secrets" / name
            if not path.exists():
                write(path, secrets.token_hex(24))
        ports = free_ports() if base is None else {role: base + at for role, at in PORTS.items()}
        # Last: with it the plan is whole.
        write(state / "cluster.json", json.dumps({"ports": ports, "drain": drain, "scrape": scrape, "sync": sync}, indent=2))
        return cls(state)

    def address(self, role: str) -> str:
        return f"127.0.0.1:{self.ports[role]}"

    def nats_table(self, user: str) -> str:
        urls = [f"nats://{self.address(f'nats-{i}')}" for i in (1, 2, 3)]
        password_file = str(self.state / "secrets" / user)
        return f'[nats]\nurls = {json.dumps(urls)}\nuser = "{user}"\npassword_file = {json.dumps(password_file)}\n'

    def parts(self, bin_dir: Path, nats_server: str) -> list[Part]:
        """In the order in which they are started."""
        parts = [self._nats(i, nats_server) for i in (1, 2, 3)]
        parts += [self._router(i, bin_dir) for i in (1, 2)]
        parts += [self._gateway(i, bin_dir) for i in (1, 2)]
        if (haproxy := found("haproxy")) is not None:
            parts.append(self._haproxy(haproxy))
        if (prometheus := found("prometheus")) is not None:
            parts.append(self._prometheus(prometheus))
        return parts

    def write_configurations(self) -> None:
        """Of all parts that have been asked for."""
        for path, text in self._files.items():
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write(path, text)

    def _config(self, name: str, text: str) -> str:
        path = self.state / "config" / name
        self._files[path] = text
        return str(path)

    def _nats(self, i: int, binary: str) -> Part:
        name = f"nats-{i}"
        for file in ("server.conf", "accounts.conf"):
            self._config(f"{name}/{file}", (DEPLOY / "nats" / file).read_text())
        users = ("gateway", "router", "operator", "backend", "monitor")
        passwords = (f'{user.upper()}_PASSWORD: "{self.secrets[user]}"\n' for user in users)
        self._config(f"{name}/secrets.conf", "".join(passwords))
        login = f"routes:{self.secrets['routes']}"
        routes = [f"nats-route://{login}@{self.address(f'nats-{j}-cluster')}" for j in (1, 2, 3)]
        known = f'ROUTES_PASSWORD: "{self.secrets["routes"]}"\nROUTES: {json.dumps(routes)}\n'
        self._config(f"{name}/routes.conf", known)
        environment = {
            "NATS_NAME": name,
            "NATS_LISTEN": f'"{self.address(name)}"',
            "NATS_MONITOR": f'"{self.address(f"{name}-monitor")}"',
            "NATS_CLUSTER": f'"{self.address(f"{name}-cluster")}"',
            "NATS_STORE": json.dumps(str(self.state / "store" / name)),
            "NATS_SYNC": json.dumps(self.sync),
            "NATS_MAX_FILE": "4GB",
        }
        config = str(self.state / "config" / name / "server.conf")
        health = f"http://{self.address(f'{name}-monitor')}/healthz"
        return Part(name, [binary, "-c", config], environment, health, patience=20)

    def _router(self, i: int, bin_dir: Path) -> Part:
        name = f"router-{i}"
        config = self._config(
            f"{name}.toml",
            f'node = "{name}"\n[admin]\nlisten = "{self.address(name)}"\n{self.nats_table("router")}'
            # Three copies from the first moment on: left to itself a router takes one where the servers have not met yet.
            '[log]\nmax_bytes = "1GiB"\nreplicas = 3\n'
            # For trying out: anybody may join these.
            '[policy]\nclient_join = ["lobby", "lobby-*"]\n',
        )
        command = [str(bin_dir / "herald-router"), "--config", config]
        return Part(name, command, {}, f"http://{self.address(name)}/health/ready", patience=35)

    def _gateway(self, i: int, bin_dir: Path) -> Part:
        name = f"gateway-{i}"
        config = self._config(
            f"{name}.toml",
            f'node = "{name}"\ndrain = "{self.drain}s"\n'
            f'[public]\nlisten = ["{self.address(name)}"]\ntrusted_proxies = ["127.0.0.1/32"]\n'
            f'[admin]\nlisten = "{self.address(f"{name}-admin")}"\n'
            f'[[admin.api_keys]]\nname = "backend"\nkey = "{self.secrets["api-key"]}"\n{self.nats_table("gateway")}'
            f'[[auth.keys]]\nalgorithm = "HS256"\nsecret_file = {json.dumps(str(self.state / "secrets" / "token"))}\n'
            # All clients come from one address here.
            "[limits]\nconnections_per_address = 20000\nconnects_per_second = 1000\nconnects_burst = 2000\n"
            # A service that calls itself "echo" on NATS can be tried.
            "[services.echo]\nclients = true\n",
        )
        command = [str(bin_dir / "herald-gateway"), "--config", config]
        health = f"http://{self.address(f'{name}-admin')}/health/ready"
        return Part(name, command, {}, health, patience=self.drain + 15)

    def _haproxy(self, binary: str) -> Part:
        environment = {
            "HERALD_PUBLIC": self.address("public"),
            "HERALD_HAPROXY_METRICS": self.address("haproxy-metrics"),
            # As many as the usual limits of a shell allow.
            "HERALD_MAXCONN": "8000",
        }
        for i in (1, 2):
            environment[f"HERALD_GATEWAY{i}"] = self.address(f"gateway-{i}")
            environment[f"HERALD_GATEWAY{i}_ADMIN"] = str(self.ports[f"gateway-{i}-admin"])
        for i in (1, 2, 3):
            environment[f"HERALD_NATS{i}"] = self.address(f"nats-{i}-monitor")
        # In the foreground; asked to end, it does not wait for the WebSockets that it has.
        command = [binary, "-db", "-f", str(DEPLOY / "haproxy.cfg")]
        health = f"http://{self.address('haproxy-metrics')}/metrics"
        return Part("haproxy", command, environment, health, patience=10)

    def _prometheus(self, binary: str) -> Part:
        text = (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
        # The same file; only where the targets are differs, and how often they are asked.
        for deployed, here in (
            ("gateway-1:9002", self.address("gateway-1-admin")),
            ("gateway-2:9002", self.address("gateway-2-admin")),
            ("router-1:9003", self.address("router-1")),
            ("router-2:9003", self.address("router-2")),
            ("haproxy:8404", self.address("haproxy-metrics")),
            ("localhost:9090", self.address("prometheus")),
            ("_interval: 10s", f"_interval: {self.scrape}s"),
            ("_timeout: 5s", f"_timeout: {min(self.scrape, 5)}s"),
        ):
            text = text.replace(deployed, here)
        config = self._config("prometheus.yaml", text)
        for file in ("alerts.yaml", "recording.yaml"):
            rules = (DEPLOY / "prometheus" / file).read_text()
            self._config(file, rules.replace("interval: 10s", f"interval: {self.scrape}s"))
        address = self.address("prometheus")
        command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.state / 'store' / 'prometheus'}",
            "--storage.tsdb.retention.time=2d",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
        return Part("prometheus", command, {}, f"http://{address}/-/ready", patience=20)


def found(program: str) -> str | None:
    """Also where Debian puts servers, which not every user's path names."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def write(path: Path, text: str) -> None:
    """Whole or not at all, and for this user's eyes alone."""
    new = path.with_name(path.name + ".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def free_ports() -> dict[str, int]:
    """All held at one time, so that no two are the same. Another program may take one before it is used; then `up` fails."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return dict(zip(PORTS, ports))
