from dataclasses import replace

import pytest

from llm_eval.airflow import demo
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError


def test_the_demo_says_what_to_do_when_its_model_is_not_trained(place):
    elsewhere = replace(place.settings, models=(place.root,))

    with pytest.raises(InputError, match="`make demo` trains"):
        demo.trained(Catalog(elsewhere.catalogs), elsewhere)
