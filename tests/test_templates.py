import pytest

from llm_eval import templates
from llm_eval.errors import InvalidSpec


def test_newlines_and_blanks_stand_as_the_author_wrote_them():
    assert templates.render("{{ a }} \n\n", {"a": "x"}) == "x \n\n"


def test_markup_is_text_not_html():
    assert templates.render("{{ a }}", {"a": "<b> & {{ c }}"}) == "<b> & {{ c }}"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(InvalidSpec, match=r"'answr' is undefined.*answer, question"):
        templates.render("{{ answr }}", {"answer": 1, "question": 2})


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x.__init__.__globals__ }}",
        "{{ [].append(1) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    ],
)
def test_the_sandbox_refuses_what_a_catalog_file_has_no_business_with(attack):
    with pytest.raises(InvalidSpec):
        templates.render(attack, {"x": object()})


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("{{ options }}", ("a", "b")),
        ("{{ options[0] }}", ("a",)),
        ("x{{ n }}", ("x7",)),
        ("{{ 'ABC'[n - 7] }}", ("A",)),
        ("{{ n }} {{ n }}", ("7 7",)),
    ],
)
def test_a_lone_expression_may_yield_a_list(source, values):
    assert templates.render_list(source, {"options": ["a", "b"], "n": 7}) == values


def test_a_lone_expression_with_an_unknown_name_is_an_error():
    with pytest.raises(InvalidSpec, match="nothere"):
        templates.render_list("{{ nothere }}", {"n": 7})


def test_broken_syntax_is_named():
    with pytest.raises(InvalidSpec, match="not valid Jinja"):
        templates.check("{{ a ")
