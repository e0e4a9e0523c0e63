"""The least that the API takes for an upstream and a route."""

UPSTREAM = {
    "name": "shop",
    "serverName": "shop.example.com",
    "targets": [{"host": "93.184.216.34", "port": 443}],
}
ROUTE = {"name": "shop", "path": {"kind": "prefix", "value": "/shop"}}
