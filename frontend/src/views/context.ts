import type { Client } from "../api/client";
import type { RegistryDevice } from "../hass";
import type { Times } from "../model/times";
import type { Localize } from "../texts";

const KINDS = "entity.event.device_event.state_attributes.fault_kind.state.";

/** What every view is given: it changes only with the language, the time zone and the devices. */
export class PanelContext {
  constructor(
    readonly client: Client,
    readonly localize: Localize,
    readonly times: Times,
    private readonly devices: Record<string, RegistryDevice>,
    readonly isDark: () => boolean,
    /** Shows another path of the panel. */
    readonly go: (path: string, replace?: boolean) => void,
    /** Says a text of the integration that Home Assistant's frontend has; empty without one. */
    readonly own: (key: string) => string,
  ) {}

  /** A crash in a line; what an earlier version stored is as it was. */
  readonly crash = (kind: string, place: string, reason: string): string => {
    if (kind === "unreadable") return this.localize("crash_unreadable");
    const fault = kind && this.own(KINDS + kind);
    return fault ? this.localize("crash_in", { fault, place }) : reason;
  };

  /** The IDs of the devices that log; gateways and destinations don't. */
  get logging(): string[] {
    return Object.values(this.devices)
      .filter(
        ({ identifiers, entry_type }) =>
          entry_type !== "service" && identifiers.some(([domain]) => domain === "ulogger"),
      )
      .map(({ id }) => id);
  }

  /** A device by the name that its user gave it. */
  readonly nameOf = (id: string): string => {
    const device = this.devices[id];
    return device?.name_by_user ?? device?.name ?? id;
  };
}
