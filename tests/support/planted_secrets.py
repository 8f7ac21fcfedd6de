"""Secrets that a job is given, and where they must not be found again."""

from __future__ import annotations

from pathlib import Path


def sasl_properties(path: Path, user: str, password: str) -> Path:
    path.write_text(
        "security.protocol=SASL_PLAINTEXT\n"
        "sasl.mechanism=PLAIN\n"
        "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{user}" password="{password}";\n'
        # A wrong password is tried for no longer than this.
        "default.api.timeout.ms=15000\nrequest.timeout.ms=10000\n"
    )
    return path


def leaks(secrets: dict[str, str], folder: Path, *texts: str) -> list[str]:
    """Where a secret stands: its name and the place."""
    found = [
        f"{name} in what was printed"
        for name, secret in secrets.items()
        for text in texts
        if secret in text
    ]
    for file in (file for file in folder.rglob("*") if file.is_file()):
        content = file.read_bytes()
        found += [f"{name} in {file}" for name, s in secrets.items() if s.encode() in content]
    return found
