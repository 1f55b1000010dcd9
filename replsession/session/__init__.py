"""Sessions: stamps, deltas, records and their merge, values and their bytes, the store."""
