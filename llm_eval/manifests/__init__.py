"""What is wrong with a pod, said before a cluster refuses it, or takes it and means something else.

`pods.mistakes` reads a whole pod, `templates.mistakes` the file that a site edits (LLM_EVAL_POD_TEMPLATE). Both are
pure functions of what a YAML file holds. An API server says much of the same, but at night and one pod at a time.
"""
