"""The paper's steps: base models, relative features, fuser, student, ablations."""
