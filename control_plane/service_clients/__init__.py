"""Service clients (服务客户端): programs that use the REST API in their own name."""
