"""uLogger's own cloud: topics, messages, credentials, registration and telemetry."""
