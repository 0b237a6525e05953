"""Metrics on their way into long-term statistics, each at the hour in which it was measured.

The recorder compiles an hour of its own from a sensor's states, five minutes at a time, and writes
it when the hour is over. A row that stood there before would make it lose that run, of all
sensors. So an hour is imported only once the recorder has written it; then the import takes the
place of what was compiled: a state that was held while nobody had been told the values. The
recorder announces each run, also what it makes up for at a start; imports queue up behind it.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from homeassistant.components.sensor import DOMAIN as SENSOR
from homeassistant.components.sensor import SensorEntity
from homeassistant.const import EVENT_RECORDER_5MIN_STATISTICS_GENERATED
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.recorder import get_instance

from ..const import DOMAIN
from ..insight.hourly import HOUR
from .gateway import UloggerConfigEntry
from .metric_hours import DueHour, MetricKey, metric_key

if TYPE_CHECKING:
    from homeassistant.components.recorder.models import StatisticData, StatisticMetaData

RECORDER: Final = "recorder"
SETTLED: Final = 60.0
"""Seconds after an hour's end when the recorder has surely queued its last run of that hour."""


class MetricStatistics:
    """Imports the metrics of an account's devices while the recorder is there."""

    def __init__(self, hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
        self._hass = hass
        self._entry = entry
        self._gateway = entry.runtime_data
        self._task: asyncio.Task[None] | None = None

    @callback
    def start(self) -> None:
        """Follow the recorder until the entry is unloaded; without one there is nothing to do."""
        if RECORDER in self._hass.config.components:
            listen = self._hass.bus.async_listen
            self._entry.async_on_unload(
                listen(EVENT_RECORDER_5MIN_STATISTICS_GENERATED, self._compiled)
            )

    @callback
    def _compiled(self, _event: Event) -> None:
        if self._task is None or self._task.done():
            self._task = self._entry.async_create_background_task(
                self._hass, self._import(), "Import metrics"
            )

    async def _import(self) -> None:
        """Import all hours that the recorder has written, and that have something new."""
        readings = self._gateway.readings
        due: dict[MetricKey, list[DueHour]] = {}
        for hour in await readings.async_hours_due(int((time.time() - SETTLED) // HOUR)):
            due.setdefault(hour.metric, []).append(hour)
        sensors = {metric: self._gateway.metric_sensors.get(metric) for metric in due}
        there = {metric: sensor for metric, sensor in sensors.items() if sensor is not None}
        if there:
            await self._import_of(there, due)
        done = [metric for metric in due if metric in there or self._is_disabled(metric)]
        await readings.async_hours_done([hour for metric in done for hour in due[metric]])

    async def _import_of(
        self, sensors: dict[MetricKey, SensorEntity], due: dict[MetricKey, list[DueHour]]
    ) -> None:
        """Queue the hours of sensors for import."""
        # Only imported where the recorder is: it brings a database with it.
        from homeassistant.components.recorder.statistics import (  # noqa: PLC0415
            async_import_statistics,
            get_metadata,
        )

        recorder = get_instance(self._hass)
        ids = {sensor.entity_id for sensor in sensors.values()}
        known = await recorder.async_add_executor_job(
            partial(get_metadata, self._hass, statistic_ids=ids)
        )
        for metric, sensor in sensors.items():
            if recorder.entity_filter and not recorder.entity_filter(sensor.entity_id):
                continue
            metadata = _metadata(sensor, known.get(sensor.entity_id, (0, None))[1])
            convert = None if metadata is None else _conversion(sensor, metadata)
            if metadata is not None and convert is not None:
                async_import_statistics(self._hass, metadata, _rows(due[metric], convert))

    def _is_disabled(self, metric: MetricKey) -> bool:
        """Whether a person does not want a metric's sensor."""
        key, name = metric
        if (device := self._gateway.devices.get(key)) is None:
            return False
        registry = er.async_get(self._hass)
        unique_id = device.unique_id(metric_key(name))
        entity_id = registry.async_get_entity_id(SENSOR, DOMAIN, unique_id)
        entry = registry.async_get(entity_id) if entity_id is not None else None
        return entry is not None and entry.disabled


def _metadata(sensor: SensorEntity, known: StatisticMetaData | None) -> StatisticMetaData | None:
    """Return what the recorder knows of a sensor, or will; None where it has no mean of it."""
    from homeassistant.components.recorder.models import (  # noqa: PLC0415
        StatisticMeanType,
    )

    if known is not None:
        return known if known["mean_type"] is StatisticMeanType.ARITHMETIC else None
    unit = sensor.unit_of_measurement
    return {
        "mean_type": StatisticMeanType.ARITHMETIC,
        "has_sum": False,
        "name": None,
        "source": RECORDER,
        "statistic_id": sensor.entity_id,
        "unit_class": _unit_class(sensor.device_class, unit),
        "unit_of_measurement": unit,
    }


def _unit_class(device_class: str | None, unit: str | None) -> str | None:
    """Return the class of a unit as the recorder would find it for a sensor."""
    from homeassistant.components.recorder.statistics import (  # noqa: PLC0415
        STATISTIC_UNIT_TO_UNIT_CONVERTER,
    )
    from homeassistant.components.sensor.const import UNIT_CONVERTERS  # noqa: PLC0415

    converter = UNIT_CONVERTERS.get(device_class) if device_class else None
    if converter is None or unit not in converter.VALID_UNITS:
        converter = STATISTIC_UNIT_TO_UNIT_CONVERTER.get(unit)
    return None if converter is None else converter.UNIT_CLASS


def _conversion(
    sensor: SensorEntity, metadata: StatisticMetaData
) -> Callable[[float], float] | None:
    """Return what brings a sensor's values into the unit of its statistics; None if nothing can."""
    from homeassistant.components.recorder.statistics import (  # noqa: PLC0415
        UNIT_CLASS_TO_UNIT_CONVERTER,
    )

    unit, wanted = sensor.native_unit_of_measurement, metadata["unit_of_measurement"]
    if unit == wanted:
        return float
    converter = UNIT_CLASS_TO_UNIT_CONVERTER.get(metadata["unit_class"] or "")
    if converter is None or not {unit, wanted} <= set(converter.VALID_UNITS):
        return None
    return converter.converter_factory(unit, wanted)


def _rows(hours: Iterable[DueHour], convert: Callable[[float], float]) -> list[StatisticData]:
    """Return hours as the recorder takes them; a mean that is no number is left out."""
    return [
        {
            "start": datetime.fromtimestamp(each.hour.hour * HOUR, UTC),
            "mean": convert(mean),
            "min": convert(each.hour.low),
            "max": convert(each.hour.high),
        }
        for each in hours
        if math.isfinite(mean := each.hour.total / each.hour.samples)
    ]
