"""Wire format of circuit breakers and degradation rules."""
