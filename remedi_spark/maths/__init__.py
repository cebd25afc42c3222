"""Metrics in numpy, on arrays of one part of the data: no Spark, no torch.

``ranking`` (who comes first, with bootstrap intervals), ``calibration`` and ``calibrators`` (is 1 % one in a hundred),
``regression`` (how much), ``drift`` (has the input moved). Nothing is imported here: an executor that needs one of
them does not load scikit-learn for the others.
"""
