"""Configurations of other gateways, in the shapes in which people have them."""

#: A small team: one provider and a half, keys from the environment, fallbacks.
SMALL = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 480
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-20250514
      api_key: os.environ/ANTHROPIC_API_KEY
litellm_settings:
  drop_params: true
  num_retries: 3
  request_timeout: 120
  fallbacks: [{"gpt-4o": ["claude"]}]
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""

#: A company: Azure in two regions with weights, OpenAI beside it, larger models for long prompts, a Redis, a database.
COMPANY = """
model_list:
  - model_name: gpt-4
    litellm_params:
      model: azure/house-gpt-4-eu
      api_base: https://house-eu.openai.azure.com/
      api_key: os.environ/AZURE_EU_KEY
      api_version: "2024-06-01"
      weight: 3
    model_info: {mode: chat, base_model: azure/gpt-4}
  - model_name: gpt-4
    litellm_params:
      model: azure/house-gpt-4-us
      api_base: https://house-us.openai.azure.com/
      api_key: os.environ/AZURE_US_KEY
      api_version: "2024-06-01"
  - model_name: gpt-4
    litellm_params: {model: gpt-4o, api_key: os.environ/OPENAI_API_KEY}
  - model_name: gpt-4-long
    litellm_params: {model: openai/gpt-4.1, api_key: os.environ/OPENAI_API_KEY}
  - model_name: titan
    litellm_params: {model: bedrock/amazon.titan-text-express-v1, aws_region_name: eu-west-1}
router_settings:
  routing_strategy: simple-shuffle
  redis_host: os.environ/REDIS_HOST
  redis_password: os.environ/REDIS_PASSWORD
  context_window_fallbacks: [{"gpt-4": ["gpt-4-long"]}]
  fallbacks: [{"gpt-4": ["gpt-4-long", "nobody"]}]
  timeout: 300
litellm_settings:
  cache: true
  cache_params: {type: redis, ttl: 600, namespace: house}
  success_callback: ["langfuse"]
general_settings:
  database_url: os.environ/DATABASE_URL
  alerting: ["slack"]
environment_variables:
  LANGFUSE_HOST: https://langfuse.example
"""

#: A lab: servers of its own, wildcards, a key that stands in the file.
LAB = """
model_list:
  - model_name: llama
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct
      api_base: http://10.0.0.7:8000/v1
  - model_name: llama
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct
      api_base: http://10.0.0.8:8000/v1
  - model_name: small
    litellm_params: {model: ollama/llama3.2, api_base: "http://10.0.0.9:11434"}
  - model_name: "groq/*"
    litellm_params: {model: "groq/*", api_key: gsk_the-key-that-stands-in-the-file}
  - model_name: "quoted \\"name\\""
    litellm_params: {model: openai/o4-mini, api_key: os.environ/OPENAI_API_KEY}
"""

PORTKEY = """
{
  "strategy": {"mode": "fallback", "on_status_codes": [429]},
  "targets": [
    {"provider": "openai", "api_key": "sk-one", "override_params": {"model": "gpt-4o", "temperature": 0.2}},
    {"provider": "anthropic", "virtual_key": "anthropic-1", "override_params": {"model": "claude-sonnet-4-20250514"}},
    {"provider": "bedrock", "virtual_key": "aws"}
  ],
  "cache": {"mode": "semantic", "max_age": 3600},
  "retry": {"attempts": 3},
  "request_timeout": 30000
}
"""
KEYS = {
    name: f"made-up-{name.lower()}-0123456789"
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_EU_KEY", "AZURE_US_KEY")
}
