"""Simulates a request and explains each step: `yumen check`.

A throw-away gateway runs the very code that serves requests, on the configuration that would be
published now, or with a draft. It forwards nothing and knows no Redis; what is left of limits and
which breakers are open is looked up beside it, without taking anything.
"""
