"""The two servers of the demonstration: an issuer that says who is who, and Muniment itself."""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

import httpx

from demo.browsers import PAGES
from demo.issuer import AUDIENCE, CLIENT, RunningIssuer
from demo.place import HOST, Place, remove_if_there
from demo.processes import Process, Processes, surroundings, wait_until
from demo.telling import DemonstrationFailed

ROOT = Path(__file__).parents[1]
PEOPLE = Path(__file__).with_name("company") / "people.json"

ADMINISTRATOR = "ada"
_START_SECONDS = 180.0


def plain_http() -> httpx.Client:
    """A client for this machine alone: no proxy, no certificate authorities."""
    return httpx.Client(trust_env=False, timeout=60, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def start_issuer(place: Place, processes: Processes, http: httpx.Client) -> RunningIssuer:
    """The issuer at the port that this demonstration has had since its first start."""
    port_file = place.folder / "issuer.port"
    remove_if_there(port_file)
    command = [sys.executable, "-m", "demo.issuer", "--people", str(PEOPLE)]
    command += ["--port", str(place.issuer_port), "--port-file", str(port_file)]
    log = place.logs / "issuer.log"
    process = processes.start(command, log, env=surroundings(), cwd=ROOT, ends_with_input=True)
    if not wait_until(port_file.exists, process, _START_SECONDS):
        raise DemonstrationFailed(f"The issuer did not start: {_last_words(log)}")
    return RunningIssuer(f"http://{HOST}:{place.issuer_port}", process, http)


def start_service(place: Place, processes: Processes, http: httpx.Client, issuer: str, port: int) -> Process:
    """Muniment on its embedded PostgreSQL, ready to be asked."""
    log = place.logs / "service.log"
    command = [str(Path(sys.executable).with_name("muniment")), "serve"]
    process = processes.start(command, log, env=_settings(place, issuer, port), cwd=place.folder)

    def ready() -> bool:
        try:
            return http.get(f"http://{HOST}:{port}/readyz").is_success
        except httpx.TransportError:
            return False

    if not wait_until(ready, process, _START_SECONDS):
        raise DemonstrationFailed(f"Muniment did not start: {_last_words(log)}")
    return process


def pages_at(port: int) -> str:
    """Where a browser on this machine finds the pages."""
    return f"http://localhost:{port}"


def _settings(place: Place, issuer: str, port: int) -> dict[str, str]:
    corp = {
        "name": "corp",
        "default": True,
        "kind": {"services_where": {"kind": "service"}},
        "issuer": issuer,
        "audience": AUDIENCE,
        "client_id": CLIENT,
        "browser": {"client_id": PAGES},
        "attributes": {"clearance": {"claim": "clr", "type": "long"}},
    }
    return surroundings(
        MUNIMENT_DATA_DIR=str(place.folder),
        MUNIMENT_ISSUERS=json.dumps([corp]),
        MUNIMENT_BOOTSTRAP_ADMIN=f"user:{ADMINISTRATOR}",
        # Browsers keep cookies that are for HTTPS alone from a plain localhost, not from each plain address.
        MUNIMENT_PUBLIC_URL=pages_at(port),
        MUNIMENT_HOST=HOST,
        MUNIMENT_PORT=str(port),
    )


def _last_words(log: Path) -> str:
    """The last line that a server wrote; the rest is in its log."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."
