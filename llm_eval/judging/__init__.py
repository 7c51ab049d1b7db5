"""LLM judges, apart from asking them: what they are asked, how verdicts are read, and what these are worth."""
