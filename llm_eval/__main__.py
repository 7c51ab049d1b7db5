"""`python -m llm_eval` is `llm-eval`: what a developer types, what a worker spawns and what a pod runs."""

from llm_eval.cli import main

main()
