"""Measures of a finished chain, computed in Spark tasks so that no owner's row reaches the driver."""
