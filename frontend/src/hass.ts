/** What Home Assistant's frontend hands to a panel, as far as this one uses it. */
export interface Connection {
  sendMessagePromise(message: object): Promise<unknown>;
  subscribeMessage(
    callback: (event: never) => void,
    message: object,
    options?: { resubscribe?: boolean },
  ): Promise<() => Promise<void>>;
}

export interface RegistryDevice {
  id: string;
  name: string | null;
  name_by_user: string | null;
  identifiers: [string, string][];
  entry_type: string | null;
}

export interface Hass {
  connection: Connection;
  language: string;
  locale?: { language: string; time_format?: string; date_format?: string };
  config: { time_zone: string };
  devices: Record<string, RegistryDevice>;
  themes?: { darkMode?: boolean };
  /** Says a text of Home Assistant's or of an integration that was loaded; empty without one. */
  localize(key: string, values?: object): string;
  loadBackendTranslation(category: string, integration: string): Promise<unknown>;
  fetchWithAuth(path: string, init: RequestInit): Promise<Response>;
  callService(domain: string, service: string, data: object, target?: object): Promise<unknown>;
}

export interface Route {
  prefix: string;
  path: string;
}
