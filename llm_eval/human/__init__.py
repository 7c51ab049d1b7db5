"""People as judges: rounds of blinded items, answers from Airflow or from sheets, and how far they agree with judges.

pool      answers of published runs that may be asked about, and where LLM judges disagree
picking   which of them, in which order, with which side first: all by a hash of the round's seed
rounds    a round on disk: {root}/human/{suite}/{round}/
showing   an item as Markdown and as text in which nothing of a model's output can act
sheets    csv and xlsx out and in; imports: what a filled-in sheet may not hold
scoring   answers → scores; agreement: with the judges and among raters; publish: rows under results/
"""
