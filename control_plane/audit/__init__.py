"""Audit (审计): who changed what, from where, in chains that tell when they were tampered with."""
