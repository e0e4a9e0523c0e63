"""The verbs of circuit breakers and degradation rules."""
