"""From measures to ``metrics.json`` and ``report.html``."""
