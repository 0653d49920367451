"""Facts become numbers: tables in the process, told in Prometheus's formats."""
