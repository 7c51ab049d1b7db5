"""The folder that a comparison works in: the peers' own environments, the models, the variables that runs see."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rounds import measure

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent.parent / "var" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another tool, installed by pip into an environment of its own: `packages` are all pins it needs."""

    name: str
    packages: tuple[str, ...]
    command: str


def lm_eval() -> Peer:
    """lm-evaluation-harness with the very torch and transformers that run ours."""
    same = tuple(
        f"{p}=={version(p).partition('+')[0]}"
        for p in ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "datasets", "numpy")
    )
    return Peer("lm-eval", ("lm-eval==0.4.13", *same), "lm_eval")


def opencompass() -> Peer:
    """OpenCompass with the newest libraries that it runs with: transformers 4, numpy 1 and what goes with them."""
    torch = f"torch=={version('torch').partition('+')[0]}"
    pins = ("transformers==4.57.6", "pyarrow<22", "pandas<3", "sentence-transformers<6", "gradio-client<2")
    return Peer("opencompass", ("opencompass==0.5.4", torch, *pins), "opencompass")


@dataclass(frozen=True, slots=True)
class Workplace:
    folder: Path

    def install(self, peer: Peer) -> Path:
        """The folder of the peer's commands, `python` among them; installed first unless just that is there already."""
        place = self.folder / peer.name
        wanted, mark = "\n".join(peer.packages), place / ".installed"
        commands = place / "bin"
        if mark.exists() and mark.read_text() == wanted:
            return commands
        print(f"installing {peer.name} into {place}: a few minutes, once", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        pip = [str(commands / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run([*pip, *peer.packages], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not (commands / peer.command).exists():
            said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("WARNING"))
            raise SystemExit(
                f"{peer.name} cannot be installed, so there is nothing to compare with. pip was asked for "
                f"{' '.join(peer.packages)}, ended with {done.returncode} and said:\n{said[-2000:]}\n"
                "Check that this machine reaches a package index (pip's own settings count), then run this again."
            )
        mark.write_text(wanted)
        return commands

    def model(self, size: str, dtype: str, python: str = sys.executable) -> Path:
        """The folder of a model, made by `python` (whose transformers must be able to read it) unless it is there."""
        maker = "" if python == sys.executable else f"-{Path(python).parent.parent.name}"
        recipe = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("make_model.py", "corpus.py")))
        place = self.folder / "models" / f"{size}-{dtype}{maker}-{recipe.hexdigest()[:8]}"
        if not (place / "model.safetensors").exists():
            print(f"making {place}", file=sys.stderr)
            command = [python, str(HERE / "make_model.py"), str(place), "--size", size, "--dtype", dtype]
            measure(command, self.environment())
        return place

    def fresh(self, *names: str) -> Path:
        """An empty folder for one run's files; what an earlier run left there is removed."""
        place = self.folder.joinpath("runs", *names)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def environment(self, threads: int = 1) -> dict[str, str]:
        """Both sides of every comparison run with these: so many threads, no network, caches in the folder."""
        return os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.folder / "huggingface"),
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """--work, --rounds and --threads, the same in every comparison."""
    parser.add_argument(
        "--work", type=Path, default=DEFAULT, help=f"where environments, models and runs are kept (default: {DEFAULT})"
    )
    parser.add_argument("--rounds", type=int, default=3, help="counted runs of each side, in alternating order")
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS of both sides (default: 1)")
