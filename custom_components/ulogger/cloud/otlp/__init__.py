"""OpenTelemetry: captures as log records and gauges at a collector, by OTLP/HTTP."""
