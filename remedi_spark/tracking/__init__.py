"""Runs and the model registry of MLflow; nothing else imports mlflow."""
