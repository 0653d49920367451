"""Facts become spans: what a request was, told to a collector of traces in OpenTelemetry's protocol."""
