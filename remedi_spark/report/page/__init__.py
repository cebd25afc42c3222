"""The report: a model of what it shows (``model.py``) and its page (``render.py``)."""
