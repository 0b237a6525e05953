import { expect, test } from "vitest";
import de from "../../custom_components/ulogger/panel/texts/de.json";
import { times } from "../src/model/times";
import type { Hass } from "../src/hass";
import { Client } from "../src/api/client";
import { localizer } from "../src/texts";
import { PanelContext } from "../src/views/context";

const BUS = "entity.event.device_event.state_attributes.fault_kind.state.data_bus_error";

const hass = { language: "de", config: { time_zone: "UTC" } } as Hass;

const context = new PanelContext(
  new Client(() => hass),
  localizer(de),
  times(hass),
  {},
  () => false,
  () => undefined,
  (key) => (key === BUS ? "Busfehler" : ""),
);

test("a crash is told in the user's language, by its kind of fault and its place", () => {
  expect(context.crash("data_bus_error", "open_valve (valve.c:112)", "in English")).toBe(
    "Busfehler in open_valve (valve.c:112)",
  );
  expect(context.crash("unreadable", "", "in English")).toBe("Unlesbarer Core-Dump");
});

test("what has no kind that is known is told as it was stored", () => {
  expect(context.crash("", "", "in English")).toBe("in English");
  expect(context.crash("of a newer version", "main", "in English")).toBe("in English");
});
