"""Networks that methods train; torch only, no data and no files."""
