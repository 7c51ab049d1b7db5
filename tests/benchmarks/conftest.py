"""The benchmarks are scripts that no install brings: the checkout and the engine's folder go to the end of the path."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path += [str(CHECKOUT / "benchmarks" / "engine"), str(CHECKOUT)]
