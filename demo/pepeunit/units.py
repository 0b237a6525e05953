"""Units of a local Pepeunit: who they are, what their topics are, and the files they are given."""

import base64
import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

DOMAIN = "pepeunit.local"
LEVELS = ("Debug", "Info", "Warning", "Error", "Critical")
BASE_INPUTS = ("update", "env_update", "schema_update", "log_sync")
BASE_OUTPUTS = ("state", "log")


def make_token(uuid: str, kind: str = "Unit") -> str:
    """Sign a token without an end, as Pepeunit does for a unit."""
    head = _part({"alg": "HS256", "typ": "JWT"})
    claims = _part({"uuid": uuid, "type": kind})
    signature = hmac.new(b"local", f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(values: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


def make_key(size: int) -> str:
    """Return a random key in Base64."""
    return base64.b64encode(os.urandom(size)).decode()


@dataclass
class Unit:
    """One unit: ``inputs`` and ``outputs`` are the UUIDs of its nodes by their names."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    uuid: str = field(default_factory=lambda: str(uuid4()))
    values: dict[str, Any] = field(default_factory=dict)
    storage: str = ""
    commit: str = "c0ffee00"
    tag: str | None = "1.0"
    links: dict[str, str] = field(default_factory=dict)
    """For inputs the outputs of other units that feed them, both as UUIDs."""

    def __post_init__(self) -> None:
        """Make up what only the unit has."""
        self.token = make_token(self.uuid)
        self.secret_key, self.encrypt_key = make_key(32), make_key(16)
        self.env_override: dict[str, Any] = {}
        self.states: dict[str, str] = {}

    @classmethod
    def make(cls, *, inputs: list[str], outputs: list[str]) -> Unit:
        """Make up a unit."""
        return cls({name: str(uuid4()) for name in inputs}, {n: str(uuid4()) for n in outputs})

    def topic(self, name: str) -> str:
        """Return the topic of a node, a report or a command."""
        if name in self.inputs or name in self.outputs:
            return f"{DOMAIN}/{(self.inputs | self.outputs)[name]}/pepeunit"
        if name in BASE_INPUTS:
            return f"{DOMAIN}/input_base_topic/{self.uuid}/{name}/pepeunit"
        return f"{DOMAIN}/output_base_topic/{self.uuid}/{name}/pepeunit"

    def env(self, host: str, port: int, http_port: int) -> dict[str, Any]:
        """Return ``env.json``."""
        return {
            "PU_DOMAIN": f"{host}:{http_port}",
            "PU_HTTP_TYPE": "http",
            "PU_APP_PREFIX": "/pepeunit",
            "PU_API_ACTUAL_PREFIX": "/api/v1",
            "PU_MQTT_HOST": host,
            "PU_MQTT_PORT": port,
            "PU_MQTT_PING_INTERVAL": 30,
            "PU_MQTT_KEEPALIVE": 60,
            "PU_AUTH_TOKEN": self.token,
            "PU_SECRET_KEY": self.secret_key,
            "PU_ENCRYPT_KEY": self.encrypt_key,
            "PU_STATE_SEND_INTERVAL": 1,
            "PU_MIN_LOG_LEVEL": "Debug",
            "PU_MAX_LOG_LENGTH": 64,
            "PU_COMMIT_VERSION": self.commit,
            **self.env_override,
        }

    def schema(self) -> dict[str, Any]:
        """Return ``schema.json``."""
        return {
            "input_base_topic": {f"{name}/pepeunit": [self.topic(name)] for name in BASE_INPUTS},
            "output_base_topic": {f"{name}/pepeunit": [self.topic(name)] for name in BASE_OUTPUTS},
            "input_topic": {
                name: [self.topic(name), *self._feeding(uuid)] for name, uuid in self.inputs.items()
            },
            "output_topic": {name: [self.topic(name)] for name in self.outputs},
        }

    def _feeding(self, uuid: str) -> list[str]:
        return [f"{DOMAIN}/{out}/pepeunit" for inp, out in self.links.items() if inp == uuid]

    @property
    def own_topics(self) -> set[str]:
        """All topics of the unit itself."""
        nodes = {self.topic(name) for name in (*self.inputs, *self.outputs)}
        return nodes | {self.topic(name) for name in (*BASE_INPUTS, *BASE_OUTPUTS)}
