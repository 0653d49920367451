"""The API, described in OpenAPI: for programs at ``/openapi.json``, for people at ``/docs``."""
