"""`yumen up`: starts all an installation needs, keeps it alive and ends it without a trace."""
