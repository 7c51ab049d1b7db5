import argparse
import sys

import pytest

from benchmarks.api import Run
from benchmarks.api_peers import OURS, peer, table
from benchmarks.cpu import Cost


def test_ratios_are_those_of_the_same_round():
    ours = [Run(Cost(2.0, 4.0, 100.0), 300.0), Run(Cost(4.0, 4.0, 100.0), 200.0)]
    theirs = [Run(Cost(6.0, 8.0, 250.0), 150.0), Run(Cost(4.0, 12.0, 250.0), 200.0)]
    shown = [line.split(maxsplit=1) for line in table({OURS: ours, "peer": theirs})]
    assert shown[1][1].split("   ")[0] == "200 / 250 / 300"
    assert [cell.strip() for cell in shown[3][1].removeprefix(f"/ {OURS}").split("  ") if cell.strip()] == [
        "0.50 / 0.75 / 1.00",
        "2.00 / 2.50 / 3.00",
        "1.00 / 2.00 / 3.00",
        "2.50 / 2.50 / 2.50",
    ]


def test_a_peer_is_a_known_name_and_an_interpreter_that_is_there():
    assert peer(f"lm-eval={sys.executable}") == ("lm-eval", sys.executable)
    for wrong in ("lm-eval", "lm-eval=/no/such/python", f"lighteval={sys.executable}"):
        with pytest.raises(argparse.ArgumentTypeError, match="NAME one of lm-eval, inspect-ai"):
            peer(wrong)
