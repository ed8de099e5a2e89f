"""The normative statements of the specifications, as data."""
