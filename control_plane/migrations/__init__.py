"""The schema's history: `versions/` holds one file a step, named `<room>_<number>.py`."""
