"""The model bundle: what a trained chain leaves behind, readable without Spark."""
