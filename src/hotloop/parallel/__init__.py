"""Data-parallel Python: functions on sequences, read from their text and run on all cores."""
