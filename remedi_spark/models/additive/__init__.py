"""The additive model: ``fit`` (settings to one Spark stage), ``training`` (L-BFGS). All else is that of ``nets``."""
