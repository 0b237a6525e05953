"""Names of what an account (config entry) keeps, and the values it starts with."""

from typing import Final

DOMAIN: Final = "ulogger"
ULOGGER_TITLE: Final = "uLogger"
MANUFACTURER: Final = "uLogger"
GATEWAY_APPLICATION: Final = 0
"""The application that the gateway itself is, in metrics, events and text logs of its own."""

# The account itself: entry.data
CONF_CONNECTION: Final = "connection"
CONF_CUSTOMER_ID: Final = "customer_id"
CONF_GROUP_ID: Final = "group_id"
CONF_CERTIFICATE: Final = "certificate"
CONF_PRIVATE_KEY: Final = "private_key"
CONF_BROKER: Final = "broker"
CONF_PORT: Final = "port"
CONF_CA: Final = "ca"
CONF_TOPIC_PREFIX: Final = "topic_prefix"
CONF_CLIENT_SUFFIX: Final = "client_suffix"
CONF_PACE: Final = "pace"
CONF_API_BASE_URL: Final = "api_base_url"

CONNECTION_MQTT: Final = "mqtt"
ENTRY_VERSION: Final = 2
"""Of config entries: what `async_migrate_entry` brings them to."""
SUBENTRY_FOLDER: Final = "folder"
SUBENTRY_CLESYDE: Final = "clesyde"
SUBENTRY_ULOGGER: Final = "ulogger"
"""Adds uLogger to an account without it; no subentry of this type is ever made."""
SUBENTRY_OTLP: Final = "otlp"
SUBENTRY_PEPEUNIT: Final = "pepeunit"
SUBENTRY_UDMI: Final = "udmi"
DESTINATION_SUBENTRIES: Final = frozenset(
    {SUBENTRY_CLESYDE, SUBENTRY_FOLDER, SUBENTRY_OTLP, SUBENTRY_PEPEUNIT, SUBENTRY_UDMI}
)
CONF_ENDPOINT: Final = "endpoint"
"""Where a UDMI gateway connects to, as UDMI's own JSON, without its password."""
CONF_PREFIX: Final = "prefix"
"""Letters of the IDs of proxied devices that a person has given none."""
CONF_PROXIES: Final = "proxies"
"""List of {device: ID in the device registry, proxy_id: ``BLE-1``}."""
CONF_PROXY_ID: Final = "proxy_id"
CONF_POINTS: Final = "points"
"""List of {device (the gateway's own point without), point, entity, units, writable}."""
CONF_POINT: Final = "point"
CONF_UNITS: Final = "units"
CONF_WRITABLE: Final = "writable"
CONF_APPROVED_HOSTS: Final = "approved_hosts"
"""Brokers that the site may send the gateway to without asking a person."""
CONF_UNIT: Final = "unit"
CONF_READABLE: Final = "readable"
CONF_INPUTS: Final = "inputs"
CONF_OUTPUTS: Final = "outputs"
CONF_NODE: Final = "node"
CONF_ENTITY: Final = "entity"
CONF_SHOWN_AS: Final = "shown_as"
CONF_ACTIONS: Final = "actions"
CONF_ENCRYPTED: Final = "encrypted"
CONF_METRIC: Final = "metric"
CONF_TEMPLATE: Final = "template"
CONF_PATH: Final = "path"
CONF_KEEP_DAYS: Final = "keep_days"
CONF_KEEP_MB: Final = "keep_mb"
CONF_SINCE: Final = "since"
CONF_KEYS: Final = "keys"
"""Names the private file of a destination's keys; it is made once and never changes."""
CONF_URL: Final = "url"
CONF_UNENCRYPTED: Final = "unencrypted"
CONF_HEADERS: Final = "headers"
CONF_METRICS: Final = "metrics"
CONF_ENTITIES: Final = "entities"
CONF_API: Final = "api"
CONF_SERIAL: Final = "serial"
CONF_TOKEN: Final = "token"  # noqa: S105 - its name
CONF_THING: Final = "thing"
CONF_LOGS_TOPIC: Final = "logs_topic"
CONF_METRICS_TOPIC: Final = "metrics_topic"
CONF_CRASHES_TOPIC: Final = "crashes_topic"
CAPTURE_TOPICS: Final = (CONF_LOGS_TOPIC, CONF_METRICS_TOPIC, CONF_CRASHES_TOPIC)
CONF_FORMAT: Final = "format"
FORMAT_RAW: Final = "raw"
FORMAT_DECODED: Final = "decoded"
SUBENTRY_FIRMWARE: Final = "firmware_image"
CONF_VERSION: Final = "version"
CONF_GIT_HASH: Final = "git_hash"
CONF_APPLICATION_ID: Final = "application_id"
CONF_FILE: Final = "file"
CONF_SOURCE: Final = "source"
CONF_ADDED_AT: Final = "added_at"
CONNECTION_NONE: Final = "none"
CONNECTION_HOME_ASSISTANT: Final = "home_assistant"
CONNECTION_HTTP: Final = "http"
"""To uLogger with an API token alone: metrics and events, but no captures."""
WITHOUT_CAPTURES: Final = frozenset({CONNECTION_NONE, CONNECTION_HTTP})
"""Connections over which no capture gets to uLogger."""

PACE_AUTO: Final = "auto"
PACE_ALWAYS: Final = "always"
PACE_NEVER: Final = "never"

DEFAULT_BROKER: Final = "mqtt.ulogger.ai"
DEFAULT_PORT: Final = 8883
DEFAULT_API_BASE_URL: Final = "https://api.ulogger.ai"
DEFAULT_TOPIC_PREFIX: Final = "ulogger/"

# What can be changed at any time: entry.options
CONF_APPLICATIONS: Final = "applications"
CONF_DEVICE_TYPES: Final = "device_types"
CONF_CONFIRMED_ADDRESS: Final = "confirmed_address"
CONF_NAME_PATTERNS: Final = "name_patterns"
CONF_COLLECT_INTERVAL: Final = "collect_interval"
CONF_DEVICE_LIMIT: Final = "device_limit"
CONF_RESERVED_SLOTS: Final = "reserved_slots"
CONF_ADAPTIVE_INTERVAL: Final = "adaptive_interval"
CONF_LIVE_MINUTES: Final = "live_minutes"
CONF_HEARTBEATS: Final = "heartbeats"
CONF_API_TOKEN: Final = "api_token"  # noqa: S105 - its name
CONF_DAILY_QUOTA_KB: Final = "daily_quota_kb"
CONF_RETENTION_DAYS: Final = "retention_days"
CONF_RETENTION_MB: Final = "retention_mb"
CONF_UNDELIVERED_BUDGET_MB: Final = "undelivered_budget_mb"
CONF_OFFER_TO_ASSISTANTS: Final = "offer_to_assistants"
CONF_FIRMWARE_FOLDER: Final = "firmware_folder"
CONF_SHOW_PANEL: Final = "show_panel"
CONF_LOG_EVENTS: Final = "log_events"
CONF_METRIC_LIMIT: Final = "metric_limit"
CONF_FORWARD_LOGS: Final = "forward_logs"
CONF_LEVEL: Final = "level"
CONF_INTEGRATIONS: Final = "integrations"

DEFAULT_NAME_PATTERNS: Final = ("uLogger*",)
DEFAULT_COLLECT_INTERVAL: Final = 15
DEFAULT_DEVICE_LIMIT: Final = 200
DEFAULT_RESERVED_SLOTS: Final = 1
DEFAULT_ADAPTIVE_INTERVAL: Final = False
DEFAULT_LIVE_MINUTES: Final = 30
DEFAULT_HEARTBEATS: Final = True
DEFAULT_SHOW_PANEL: Final = True
DEFAULT_DAILY_QUOTA_KB: Final = 0
DEFAULT_RETENTION_DAYS: Final = 7
DEFAULT_RETENTION_MB: Final = 100
DEFAULT_UNDELIVERED_BUDGET_MB: Final = 500
DEFAULT_LOG_EVENTS: Final = "error"
DEFAULT_METRIC_LIMIT: Final = 50

LEVEL_OFF: Final = "off"
FORWARD_LEVELS: Final = (LEVEL_OFF, "debug", "info", "warning", "error", "critical")

# What a gateway tells the discovery card about a device nobody has approved yet
ATTR_APPLICATION_ID: Final = "application_id"
ATTR_DEVICE_TYPE: Final = "device_type"
ATTR_NAME: Final = "name"
ATTR_ADDRESS: Final = "address"
