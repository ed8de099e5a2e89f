"""The machinery of mqproof: targets, wires, clients, verdicts, runs and reports."""
