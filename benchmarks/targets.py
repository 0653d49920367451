"""What the harness measures: a target knows how to start itself as one process, and what its clients send.

Peers are installed on demand (``--install``) under ``BENCH_HOME``, in the configuration that does least: no database,
no log, one worker.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("BENCH_HOME") or Path(tempfile.gettempdir()) / "sluice-bench")
UPSTREAM_PORT = 18100
UPSTREAM = f"http://127.0.0.1:{UPSTREAM_PORT}/v1"
#: What a gateway sends to the stub, and what a client sends to a gateway.
UPSTREAM_KEY = "sk-upstream-0123456789"
CLIENT_KEY = "sk-client-0123456789"
#: Every model that a measurement asks for, for targets that need a list.
MODELS = ("stub", "stub-c100", "stub-c25-i20", "stub-c20-i1000", "stub-c5-i1000")


class Target:
    """A gateway in front of the stub; the defaults suit most of them."""

    name: str
    port: int
    path = "/v1/chat/completions"
    #: False: nothing runs, the load goes straight to the stub.
    runs = True

    @property
    def home(self) -> Path:
        return HOME / self.name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def installed(self) -> bool:
        return True

    def install(self) -> None:
        """Install into ``home``."""

    def configure(self) -> None:
        """Write the configuration into ``home``; once what ``services`` names is up, before every start."""

    def services(self) -> list[list[str]]:
        """Commands of further processes that the target needs."""
        return []

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def directory(self) -> Path:
        return self.home

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {CLIENT_KEY}"}


class Direct(Target):
    """No gateway: what the load generator and the stub can do by themselves."""

    name = "direct"
    port = UPSTREAM_PORT
    runs = False

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {UPSTREAM_KEY}"}


class Gateway(Target):
    """This project, started as ``gateway.toml`` says, with everything on."""

    name = "gateway"
    port = 18120
    service_port = 18121

    def __init__(self) -> None:
        known = {
            "upstream": UPSTREAM,
            "upstream_key": UPSTREAM_KEY,
            "port": str(self.port),
            "service_port": str(self.service_port),
            "home": str(self.home),
        }
        described = tomllib.loads(Path(__file__).with_name("gateway.toml").read_text())
        self._described: dict[str, Any] = _filled(described, known)
        self.path = self._described["path"]

    def configure(self) -> None:
        for command in self._described["setup"]:
            subprocess.run(command, cwd=CHECKOUT, check=True)

    def services(self) -> list[list[str]]:
        return list(self._described["services"])

    def command(self) -> list[str]:
        return list(self._described["command"])

    def environment(self) -> dict[str, str]:
        return dict(self._described["environment"])

    def directory(self) -> Path:
        return CHECKOUT

    def headers(self) -> dict[str, str]:
        token = (self.home / "key").read_text()
        return {name: value.replace("{key}", token) for name, value in self._described["headers"].items()}


_NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid {home}/nginx.pid; error_log {home}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream stub {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    if ($http_authorization != "Bearer {client_key}") {{ return 401; }}
    location / {{
      proxy_pass http://stub; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer {upstream_key}";
    }}
  }}
}}
"""


class Nginx(Target):
    """A bare reverse proxy that compares one key and passes bytes on: the limit of the transport."""

    name = "nginx"
    port = 18110

    def installed(self) -> bool:
        return shutil.which("nginx") is not None

    def configure(self) -> None:
        keys = {"client_key": CLIENT_KEY, "upstream_key": UPSTREAM_KEY}
        text = _NGINX.format(home=self.home, port=self.port, upstream=UPSTREAM_PORT, **keys)
        (self.home / "nginx.conf").write_text(text)

    def command(self) -> list[str]:
        return ["nginx", "-c", str(self.home / "nginx.conf"), "-p", str(self.home)]


class Litellm(Target):
    """LiteLLM's proxy: a master key, no database, its settings for production."""

    name = "litellm"
    port = 18111

    def installed(self) -> bool:
        return (self.home / "venv" / "installed").exists()

    def install(self) -> None:
        venv.create(self.home / "venv", clear=True, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.home / "venv" / "bin" / "python")]
        subprocess.run([*pip, "install", "-qq", "litellm[proxy]"], check=True)
        (self.home / "venv" / "installed").touch()

    def configure(self) -> None:
        upstream = {"api_base": UPSTREAM, "api_key": UPSTREAM_KEY}
        models = [{"model_name": model, "litellm_params": {"model": f"openai/{model}", **upstream}} for model in MODELS]
        settings = {"telemetry": False, "set_verbose": False, "request_timeout": 60}
        whole = {"model_list": models, "general_settings": {"master_key": CLIENT_KEY}, "litellm_settings": settings}
        # JSON is YAML, too.
        (self.home / "config.yaml").write_text(json.dumps(whole))

    def environment(self) -> dict[str, str]:
        return {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def command(self) -> list[str]:
        listening = ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]
        return [str(self.home / "venv/bin/litellm"), "--config", str(self.home / "config.yaml"), *listening]


class Portkey(Target):
    """Portkey's gateway on Node, which passes the client's key on.

    What a plain installation brings of @hono/node-server, 1.14 or later, answers 500 to every stream.
    """

    name = "portkey"
    port = 18112
    _package = "@portkey-ai/gateway"

    def installed(self) -> bool:
        return (self.home / "package-lock.json").exists()

    def install(self) -> None:
        manifest = {"private": True, "overrides": {"@hono/node-server": "1.13.8"}}
        (self.home / "package.json").write_text(json.dumps(manifest))
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", self._package]
        subprocess.run(command, cwd=self.home, check=True)

    def environment(self) -> dict[str, str]:
        return {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}

    def command(self) -> list[str]:
        server = self.home / "node_modules" / self._package / "build" / "start-server.js"
        return ["node", str(server), f"--port={self.port}", "--headless"]

    def headers(self) -> dict[str, str]:
        where = {"x-portkey-provider": "openai", "x-portkey-custom-host": UPSTREAM}
        return where | {"Authorization": f"Bearer {UPSTREAM_KEY}"}


TARGETS: Mapping[str, type[Target]] = {target.name: target for target in (Direct, Nginx, Gateway, Litellm, Portkey)}


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    """``value`` with what is known in the place of its names, in every string in it."""
    if isinstance(value, dict):
        return {key: _filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    if isinstance(value, str):
        for name, text in known.items():
            value = value.replace(f"{{{name}}}", text)
    return value
