"""Certificates for local brokers that speak TLS: a self-made authority, and a server's certificate that it signed.

A driver takes the folder as its option ``certificates``. The key is good for two days and for loopback only.
"""

import shutil
import subprocess
from pathlib import Path

from mqproof.harness.targets.errors import BrokerMissing
from mqproof.harness.targets.target import Tls

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "server.pem", "server.key"
SPEAK_TLS = ("embedded", "mosquitto", "rabbitmq")  # the drivers that take them
NAMES = "DNS:localhost,IP:127.0.0.1"
DAYS = "2"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificates(folder: Path, names: str = NAMES) -> Path:
    """Write ``ca.pem``, ``server.pem`` and ``server.key`` into ``folder``, and return it. Raises BrokerMissing."""
    if shutil.which("openssl") is None:
        raise BrokerMissing("TLS on a local broker needs openssl: apt-get install openssl")
    authority = ("-days", DAYS, "-keyout", "ca.key", "-out", AUTHORITY, "-subj", "/CN=mqproof test authority")
    _openssl(folder, "req", "-x509", *CURVE, *authority)
    _openssl(folder, "req", *CURVE, "-keyout", KEY, "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text(f"subjectAltName={names}\n")
    signer = ("-CA", AUTHORITY, "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-extfile", "names")
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signer, "-out", CERTIFICATE)
    return folder


def tls_of(folder: Path) -> Tls:
    """Return how a client verifies a broker that has these certificates."""
    return Tls(folder / AUTHORITY)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
