"""What can be done with routes and upstreams."""
