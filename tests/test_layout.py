import pytest

from llm_eval.errors import InputError
from llm_eval.layout import Shard, root_of, run_uri


@pytest.mark.parametrize("root", ["/data/root", "s3://bucket/prefix", "memory://x"])
@pytest.mark.parametrize("tail", ["", "/", "/run.json"])
def test_a_runs_root_is_found_from_its_address(root, tail):
    assert root_of(run_uri(root, "m", "d_ppl", "r-1") + tail) == root


@pytest.mark.parametrize("address", ["", "r", "/a/b/c/d", "s3://b/results/m/d/r"])
def test_what_is_not_a_runs_address_is_refused(address):
    with pytest.raises(InputError, match="is not a run"):
        root_of(address)


def test_a_shard_is_counted_from_zero():
    assert Shard.parse("3/8") == Shard(3, 8)


@pytest.mark.parametrize("text", ["8/8", "-1/8", "1", "a/b", "1/0", "1/2/3", ""])
def test_a_shard_outside_its_count_is_refused(text):
    with pytest.raises(InputError, match="i/n"):
        Shard.parse(text)
