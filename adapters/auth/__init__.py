"""Bearer tokens: JSON Web Tokens signed with a shared secret, or by an OpenID issuer with the keys it publishes."""
