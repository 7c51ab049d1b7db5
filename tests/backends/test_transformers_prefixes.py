"""The prefix tree and the packs cut from it, on sequences made at random and by hand."""

import random
from collections import deque

import numpy as np
import pytest

from llm_eval.backends.transformers.engine.packing import Limits, Pack, cut
from llm_eval.backends.transformers.engine.prefixes import grow

WIDE = Limits(10**9, 10**9)


def random_sequences(seed: int) -> list[list[int]]:
    """Three levels that may be shared, equal sequences, and some that begin others."""
    draw = random.Random(seed)

    def run(longest: int) -> list[int]:
        return [draw.randrange(9) for _ in range(draw.randrange(1, longest))]

    sequences = []
    for _ in range(draw.randrange(1, 4)):
        header = run(60)
        for _ in range(draw.randrange(1, 4)):
            block = header + run(80)
            sequences += [block + run(40) for _ in range(draw.randrange(1, 6))]
    sequences += [list(s) for s in sequences[:2]] + [s[: len(s) // 2 + 1] for s in sequences[:3]]
    draw.shuffle(sequences)
    return sequences


@pytest.mark.parametrize("longest_prefix", [None, 0, 50])
@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_is_the_path_to_its_leaf(seed, longest_prefix):
    sequences = random_sequences(seed)
    forest = grow(sequences, longest_prefix)
    for sequence, leaf in zip(sequences, forest.leaves, strict=True):
        path = leaf.path()
        assert [token for node in path for token in node.ids] == sequence
        assert [node.start for node in path] == [sum(len(n.ids) for n in path[:i]) for i in range(len(path))]
        assert leaf.ids
        assert not leaf.children
        assert all(node.end <= (longest_prefix if longest_prefix is not None else 10**9) for node in path[:-1])
    order = forest.in_order()
    assert len(order) == len(set(order))
    assert set(order) == {node for leaf in forest.leaves for node in leaf.path()}
    for node in order:
        assert node.users == sum(node in leaf.path() for leaf in forest.leaves)
        assert node.owner in [forest.leaves.index(leaf) for leaf in forest.leaves if node in leaf.path()]


def test_what_is_shared_stands_once_three_levels_deep():
    header, subjects = list(range(100, 200)), [list(range(200, 300)), list(range(300, 400))]
    questions = [
        header + s + [1000 + 10 * q + i for i in range(50)] for s in subjects for q in (s[0], s[0] + 1, s[0] + 2)
    ]
    choices = [q + [c] * 3 for q in questions for c in (1, 2, 3, 4)]
    forest = grow(choices)
    assert [len(leaf.path()) for leaf in forest.leaves] == [4] * 24
    assert sum(len(node.ids) for node in forest.in_order()) == 100 + 2 * 100 + 6 * 50 + 24 * 3


def test_a_beginning_too_short_to_pay_is_read_with_each():
    forest = grow([[1, 2, 3, 4 + i] + [i] * 30 for i in range(3)])
    assert len(forest.roots) == 3
    assert len(grow([[1] * 40 + [4 + i] * 30 for i in range(3)]).roots) == 1


def test_thousands_of_nested_sequences_are_no_deeper_than_what_pays():
    forest = grow([[7] * (n + 1) for n in range(2000)])
    assert [len(leaf.path()[-1].ids) > 0 for leaf in forest.leaves] == [True] * 2000


@pytest.mark.parametrize("limits", [WIDE, Limits(64, 10**9), Limits(7, 10**9), Limits(1, 1), Limits(100, 3)])
@pytest.mark.parametrize("seed", range(6))
def test_packs_hold_every_token_once_after_what_it_follows(seed, limits):
    sequences = random_sequences(seed)
    forest = grow(sequences)
    for number, (sequence, leaf) in enumerate(zip(sequences, forest.leaves, strict=True)):
        for position in range(max(len(sequence) - 5, 0), len(sequence)):
            leaf.want(position, number)
    tokens = sum(len(node.ids) for node in forest.in_order())
    queue, seen, wanted = deque(forest.in_order()), set(), 0
    while queue:
        nodes = cut(queue, limits, longest_prefix=10**9)
        pack = Pack.of(nodes)
        assert pack.tokens <= limits.tokens
        assert sum(len(node.wanted) for node in nodes) <= limits.logits
        for node in nodes:
            assert node.parent is None or node.parent in seen
            seen.add(node)
        tokens -= pack.tokens
        wanted += sum(len(who) for node in nodes for who in node.wanted.values())
        assert all(node.start <= p < node.end for node in nodes for p in node.wanted)
    assert tokens == 0
    assert wanted == sum(min(len(s), 5) for s in sequences)
    for sequence, leaf in zip(sequences, forest.leaves, strict=True):
        assert [token for node in leaf.path() for token in node.ids] == sequence


@pytest.mark.parametrize("budget", [10**9, 300, 40])
@pytest.mark.parametrize("seed", range(10))
def test_a_token_sees_what_stands_before_it_in_its_sequence_and_nothing_else(seed, budget):
    forest = grow(random_sequences(seed))
    queue = deque(forest.in_order())
    done: list = []
    while queue:
        pack = Pack.of(cut(queue, Limits(budget, 10**9), longest_prefix=10**9))
        seen = [[] for _ in range(pack.tokens)]  # for each token of the pack: (node, position in it) that it sees
        owner = [(node, i) for node in pack.nodes for i in range(len(node.ids))]
        for block in pack.blocks():
            size = block.span.tokens
            mask = np.tri(size, dtype=bool) if block.mask is None else block.mask
            for row in range(size):
                seen[block.span.begin + row] += [owner[block.span.begin + c] for c in np.flatnonzero(mask[row])]
        for reach in pack.reaches():
            assert (reach.within is not None) == (reach.node in pack.nodes)
            assert reach.within is not None or reach.node in done
            for token in range(*reach.queries):
                seen[token] += [(reach.node, i) for i in range(len(reach.node.ids))]
        for token, (node, i) in enumerate(owner):
            before = [(n, k) for n in node.path()[:-1] for k in range(len(n.ids))] + [(node, k) for k in range(i + 1)]
            assert sorted(seen[token], key=lambda p: (p[0].start, p[1])) == before
        done += pack.nodes
