"""Any provider that speaks OpenAI's chat completions over HTTP, with its habits as declared in its spec."""
