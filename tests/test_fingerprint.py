import pytest

from llm_eval.fingerprint import fingerprint, slug


def test_equal_content_has_an_equal_fingerprint_whatever_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [2, "é"]}) == fingerprint({"b": [2, "é"], "a": 1})


@pytest.mark.parametrize(("one", "other"), [(1, "1"), ([1, 2], [2, 1]), ({"a": None}, {}), (("ab", "c"), ("a", "bc"))])
def test_different_content_has_a_different_fingerprint(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_what_json_cannot_hold_is_refused_rather_than_hashed_by_its_repr():
    with pytest.raises(TypeError):
        fingerprint(object())


@pytest.mark.parametrize("text", ["run-1", "step-0100", "a.b"])
def test_a_safe_name_is_its_own_slug(text):
    assert slug(text) == text


@pytest.mark.parametrize("text", ["manual__2026-01-01T00:00:00+00:00", "../../etc/passwd", "日本", "", "x" * 200, ".."])
def test_a_slug_is_one_safe_path_segment(text):
    made = slug(text)

    assert made
    assert len(made) <= 64
    assert "/" not in made
    assert not made.startswith(".")


def test_different_texts_keep_different_slugs():
    assert slug("a:b") != slug("a+b")
