"""The verbs of the room single_sign_on: identity providers, and signing in at them."""
