"""Meta-learning on Spark: tasks from tables, distributed meta-training, a student for one segment or for many."""
