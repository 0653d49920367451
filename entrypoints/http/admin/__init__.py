"""The admin API, ``/admin/v1``: one file for each resource, on a port of its own."""
