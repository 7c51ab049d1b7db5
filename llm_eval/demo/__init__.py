"""The demo: a tiny Llama, trained here in about a minute, and the two small benchmarks it is evaluated on.

`python -m llm_eval.demo` trains it. world.py is what the model is taught and what it is asked, tokenizer.py its words,
recipe.py what decides the weights, batches.py and train.py the training, folders.py the checkpoints it leaves.
"""
