"""Limits (限额): how much may pass the gateway, by whom, in what time."""
