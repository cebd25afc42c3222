"""Tables of the user, whatever wrote them: Parquet, CSV, Delta, frames."""
