"""What clients may ask the gateway for with an API key; exported as `endpoints.lua`."""

ENDPOINTS = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/models": "GET",
    "/v1/models/{id}": "GET",
}
"""Endpoint, under the name that usage and an API key's scope have for it, to its only method."""

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The methods that a key may be limited to; of the gateway's own endpoints only GET and POST."""
