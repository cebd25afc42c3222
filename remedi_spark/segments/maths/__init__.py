"""Meta-learning: nets that adapt to a new task (a segment) from a handful of labelled rows. No Spark in here.

Read in this order: ``tasks`` (support and query), ``inner_loop`` (adaptation), ``algorithms`` (MAML, first-order MAML,
ANIL, Reptile: one meta-gradient a task), ``training`` (the outer loop).
"""
