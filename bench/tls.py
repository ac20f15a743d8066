"""What TLS costs: the same fleet asked in clear and by TLS, with connections that are kept and with one a request.

    python -m bench.tls
    python -m bench.tls --scale 0.05 --runs 1

All grants are due at once, and one worker refreshes them; the provider answers after a delay. Providers close what is
idle, and Evergrant keeps a connection for a second at most, so a client with few grants pays for a handshake each time.
The handshake is a full one: the certificate is of P-256, as most are, and no session is taken up again.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench import drain, machine, report
from bench.contestants.evergrant import Evergrant
from bench.stage import Stage, stage

GRANTS = 20_000
# By TLS, and whether the provider keeps a connection after its answer.
WAYS = {
    "in clear, kept": (False, True),
    "by TLS, kept": (True, True),
    "in clear, one a request": (False, False),
    "by TLS, one a request": (True, False),
}


@click.command()
@click.option("--delay", default=50, show_default=True, help="Of the provider's answers, in ms.")
@click.option("--runs", default=3, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help=f"Of the {GRANTS} grants.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of results.")
def main(*, delay: int, runs: int, scale: float, out: Path | None) -> None:
    """Measure the four ways one after the other."""
    begun = machine.described()
    measured = [
        {"way": way, **_measure(tls=tls, keeps=keeps, delay=delay, runs=runs, count=max(int(GRANTS * scale), 50))}
        for way, (tls, keeps) in WAYS.items()
    ]
    report.say()
    report.table([_line(row, measured[0]) for row in measured])
    report.save("tls", measured, begun=begun, folder=out)


def _measure(*, tls: bool, keeps: bool, delay: int, runs: int, count: int) -> dict[str, Any]:
    with stage() as here:
        certificate, key = _certificate(here)
        provider = here.provider("A", "--certificate", certificate, "--key", key)
        provider.order("_reset", count=count)
        contestant = Evergrant(here, provider, count, trusts=certificate if tls else None)
        contestant.prepare()
        contestant.start()
        provider.order("_set", delay=delay / 1000, keeps=keeps)
        rounds = [drain.once(here, contestant, provider) for _ in range(runs)]
        contestant.stop()
    report.say(f"TLS {tls}, kept {keeps}:", *(f"{each['per_second']:.0f}/s" for each in rounds), machine.load())
    return drain.summed(rounds)


def _certificate(here: Stage) -> Sequence[str]:
    """A certificate for 127.0.0.1 and its key, as PEM files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    certificate = builder.add_extension(host, critical=False).sign(key, hashes.SHA256())
    pem, secret = here.home / "provider.pem", here.home / "provider.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.touch(mode=0o600)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return str(pem), str(secret)


def _line(row: dict[str, Any], first: dict[str, Any]) -> dict[str, object]:
    rate, cpu = row["per_second"], row["cpu_ms"]
    return {
        "asked": row["way"],
        "refreshes/s": rate["median"],
        "spread": f"{rate['least']:.0f}-{rate['greatest']:.0f}",
        "of the first": f"{rate['median'] / first['per_second']['median']:.2f}",
        **{f"{name} ms": spread["median"] for name, spread in cpu.items()},
    }


if __name__ == "__main__":
    main()
