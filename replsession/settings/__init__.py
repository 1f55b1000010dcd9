"""A whole configuration as one value, and the places that it is read from."""
