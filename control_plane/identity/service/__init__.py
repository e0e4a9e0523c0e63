"""The verbs of the room identity: users, their sign-ins, and API keys."""
