"""The counter page: a small application, as a user of the package would write it."""
