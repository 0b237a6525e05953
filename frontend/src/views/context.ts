import type { Client } from "../api/client";
import type { RegistryDevice } from "../hass";
import type { Times } from "../model/times";
import type { Localize } from "../texts";

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
  ) {}

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
