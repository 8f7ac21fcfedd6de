"""Benchmarks; they start servers and processes with scripts/local_services, as the tests do."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))
