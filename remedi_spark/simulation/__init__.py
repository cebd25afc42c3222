"""A synthetic world of vehicle owners, drawn by Spark, with the true probability of every label kept apart.

Read ``draws`` (random numbers that do not depend on partitions), ``behaviour`` (who does what, and how likely a
purchase is), ``world`` (the tables), and ``recall`` (how near a ranking comes to the best possible one).
"""
