"""The faces of the service in HTTP."""
