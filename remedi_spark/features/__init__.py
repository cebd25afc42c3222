"""Owner features from events, declared in the configuration and computed point in time.

Read in the order the data flows: ``sources`` (events), ``levels`` (what the label and ``each`` stand for),
``aggregations`` and ``plan`` (declared measures as cells and readings), ``days`` (daily partials), ``snapshots`` (the
grid), ``windows`` (from days to snapshots), ``distinct``, ``label``, ``attributes``, and ``build``, which joins them.
"""
