"""Steps of the schema; one branch a room."""
