"""Real model servers and a real HAProxy on free ports, started and stopped by tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from holdfast.release.routers.haproxy import HAProxyRouter
from holdfast.release.routers.haproxy_config import first_files, haproxy_config
from holdfast.release.routers.nginx import NginxRouter, nginx_include
from holdfast.release.routing import Routing

SERVER = Path(__file__).with_name("model_server.py")


def installed(program: str) -> str | None:
    """The program's path, also where only root's PATH has it; None where it is missing."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def needs(program: str) -> str:
    """The program's path; where it is missing the test is skipped, and fails in CI."""
    found = installed(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed; .ci/run installs it")
        pytest.skip(f"{program} is not installed")
    return found


def free_port() -> int:
    """A port that nobody has, and that no other process of tests is given while this one runs: HAProxy shares ports."""
    for port in random.sample(range(12_000, 32_000), 1000):  # below those of outgoing connections
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket(socket.AF_UNIX) as claim:
            claim.bind(f"\0holdfast-test-port-{port}")  # a name without a file, which goes with the process
            probe.bind(("127.0.0.1", port))
            claim.detach()
            return port
    raise OSError("there is no free port")


def wait_for(what: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def answers(path: Path) -> bool:
    """Whether somebody listens at a unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


class Servers:
    """Model servers by version; `address_of` is what a router is given. Only what was started here is ever ended."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *versions: str) -> None:
        for version in versions:
            port = self.ports.setdefault(version, free_port())
            self.running[version] = subprocess.Popen([sys.executable, str(SERVER), str(port), version])
        for version in versions:
            wait_for(lambda version=version: listens(self.ports[version]))

    def stop(self, version: str) -> None:
        process = self.running.pop(version)
        process.kill()
        process.wait()

    def address_of(self, version: str) -> str:
        return f"127.0.0.1:{self.ports.setdefault(version, free_port())}"

    def close(self) -> None:
        for version in list(self.running):
            self.stop(version)


class Nginx:
    """nginx in its own folder, with the server block of docs/routers.md."""

    def __init__(self, program: str, servers: Servers) -> None:
        self.program, self.servers = program, servers
        self.folder = Path(tempfile.mkdtemp(prefix="hf-"))
        self.port = free_port()
        self.conf, self.include = self.folder / "nginx.conf", self.folder / "holdfast.conf"
        self.conf.write_text(self._conf())

    def _conf(self) -> str:
        temporary = "".join(
            f"{name}_temp_path {self.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        )
        return f"""
daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/log;
events {{ worker_connections 200; }}
http {{
    access_log off; {temporary}
    include {self.include};
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            proxy_pass http://holdfast_$holdfast_variant;
            proxy_set_header x-holdfast-variant $holdfast_variant;
            proxy_set_header x-holdfast-version $holdfast_version;
            proxy_hide_header x-holdfast-version;
            add_header x-holdfast-variant $holdfast_variant always;
            add_header x-holdfast-version $holdfast_version always;
            add_header x-holdfast-served-by $holdfast_served_by always;
        }}
    }}
}}
"""

    def command(self) -> list[str]:
        return [self.program, "-p", str(self.folder), "-e", str(self.folder / "log"), "-c", str(self.conf)]

    def router(self) -> NginxRouter:
        return NginxRouter(self.include, self.servers.address_of, nginx=self.command())

    def workers(self) -> set[str]:
        """The processes that answer; those of before a reload among them while they finish."""
        pid = self.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def tell(self, routing: Routing) -> None:
        """Apply, and wait until only workers that read it are left."""
        before = self.workers()
        self.router().apply(routing)
        wait_for(lambda: bool(self.workers()) and not self.workers() & before)

    def __enter__(self) -> Self:
        """nginx starts with everybody at version 1."""
        routing = Routing(model="m", epoch=0, champion="1")
        self.include.write_text(nginx_include(routing, self.servers.address_of))
        self.process = subprocess.Popen(self.command(), stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.port) and bool(self.workers()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()  # its workers end with it
        self.process.wait()
        shutil.rmtree(self.folder)


class HAProxy:
    """HAProxy with our configuration in its own folder, with a unix socket and one over TCP."""

    def __init__(self, program: str, servers: Servers, champion: str = "1", spare: str = "2") -> None:
        self.program, self.servers = program, servers
        self.folder = Path(tempfile.mkdtemp(prefix="hf-"))  # short: a unix socket's path has some 100 characters
        self.port, self.tcp = free_port(), f"tcp://127.0.0.1:{free_port()}"
        self.socket = self.folder / "admin.sock"
        first_files(self.folder)
        text = haproxy_config(
            bind=f"127.0.0.1:{self.port}",
            socket=str(self.socket),
            folder=self.folder,
            champion=servers.address_of(champion),
            spare=servers.address_of(spare),
        )
        tcp = f"global\n    stats socket ipv4@{self.tcp.removeprefix('tcp://')} level admin\n"
        (self.folder / "haproxy.cfg").write_text(text + tcp)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "-db", "-f", str(self.folder / "haproxy.cfg")], stdout=log, stderr=log
            )
        wait_for(lambda: listens(self.port) and answers(self.socket))
        assert self.process.poll() is None, self.log()

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def router(self, *, keep: bool | None = False, patience: float = 3.0, tcp: bool = False) -> HAProxyRouter:
        place = self.tcp if tcp else self.socket
        return HAProxyRouter(place, self.servers.address_of, keep=keep, patience=patience)
