"""Wire format of routes and upstreams."""
