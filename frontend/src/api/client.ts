import type { Hass } from "../hass";
import type {
  CrashDetails,
  CrashGroup,
  CrashOccurrence,
  DevicesEvent,
  Failure,
  FrameDetails,
  LiveEvent,
  LogFilter,
  PersonsState,
  SearchEvent,
  Timeline,
} from "./messages";

/** Ends a subscription; may be called more than once, and before the subscription stands. */
export type Stop = () => void;

/** What went wrong, in words for a person. */
export function reason(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) {
    return String(error.message);
  }
  return String(error);
}

/** Everything that the panel asks of Home Assistant. */
export class Client {
  constructor(private readonly hass: () => Hass) {}

  /** Looks for frames, the newest first; `onEvent` gets them in pieces. */
  search(
    filter: LogFilter,
    limit: number,
    onEvent: (event: SearchEvent) => void,
    onError: (error: unknown) => void,
  ): Stop {
    const heard = (event: SearchEvent): void => {
      if (event.failure) onError(this.told(event.failure));
      else onEvent(event);
    };
    return this.subscribe({ type: "ulogger/logs/search", filter, limit }, heard, onError, false);
  }

  /** Hears of the frames of each capture that comes from now on. */
  live(
    filter: LogFilter,
    onEvent: (event: LiveEvent) => void,
    onError: (error: unknown) => void,
  ): Stop {
    return this.subscribe({ type: "ulogger/logs/subscribe", filter }, onEvent, onError);
  }

  async frame(key: string): Promise<FrameDetails> {
    return (await this.ask({ type: "ulogger/logs/frame", key })) as FrameDetails;
  }

  /** Hears of all crash groups, again after each change. */
  crashGroups(onEvent: (groups: CrashGroup[]) => void, onError: (error: unknown) => void): Stop {
    return this.subscribe({ type: "ulogger/crashes/subscribe" }, onEvent, onError);
  }

  async occurrences(account: string, fingerprint: string): Promise<CrashOccurrence[]> {
    const message = { type: "ulogger/crashes/occurrences", account, fingerprint };
    return (await this.ask(message)) as CrashOccurrence[];
  }

  async crash(account: string, capture: number): Promise<CrashDetails> {
    return (await this.ask({ type: "ulogger/crashes/get", account, capture })) as CrashDetails;
  }

  async setCrashState(account: string, fingerprint: string, state: PersonsState): Promise<void> {
    await this.ask({ type: "ulogger/crashes/set_state", account, fingerprint, state });
  }

  /** Hears of all devices, then of those that change. */
  devices(onEvent: (event: DevicesEvent) => void, onError: (error: unknown) => void): Stop {
    return this.subscribe({ type: "ulogger/devices/subscribe" }, onEvent, onError);
  }

  async timeline(device: string, since: number): Promise<Timeline> {
    return (await this.ask({ type: "ulogger/devices/timeline", device, since })) as Timeline;
  }

  /** Uploads a firmware image and takes it into an account. Throws what is wrong with it. */
  async addImage(account: string, file: File, capture: number): Promise<void> {
    const body = new FormData();
    body.append("file", file);
    const response = await this.hass().fetchWithAuth("/api/file_upload", { method: "POST", body });
    if (!response.ok) throw new Error(`${String(response.status)} ${response.statusText}`);
    const { file_id } = (await response.json()) as { file_id: string };
    await this.ask({ type: "ulogger/images/add", account, file_id, capture });
  }

  /** Has an action of the integration done for devices. */
  async act(action: string, devices: string[], data: object = {}): Promise<void> {
    await this.translated(this.hass().callService("ulogger", action, data, { device_id: devices }));
  }

  async setLive(devices: string[], live: boolean): Promise<void> {
    await this.ask({ type: "ulogger/devices/set_live", devices, live });
  }

  private ask(message: object): Promise<unknown> {
    return this.translated(this.hass().connection.sendMessagePromise(message));
  }

  private async translated<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.told(error);
    }
  }

  /** Returns an error in the user's language where it names its text, else as it is. */
  private told(error: unknown): unknown {
    const { translation_domain, translation_key, translation_placeholders } = (error ??
      {}) as Partial<Failure>;
    const message =
      translation_key &&
      this.hass().localize(
        `component.${String(translation_domain)}.exceptions.${translation_key}.message`,
        translation_placeholders,
      );
    return message ? new Error(message) : error;
  }

  private subscribe(
    message: object,
    onEvent: (event: never) => void,
    onError: (error: unknown) => void,
    resubscribe = true,
  ): Stop {
    let stopped = false;
    let unsubscribe: (() => Promise<void>) | undefined;
    const end = (): void => {
      // The connection may have gone first; then there is nothing to end.
      unsubscribe?.().catch(() => undefined);
    };
    const heard = (event: never): void => {
      if (!stopped) onEvent(event);
    };
    this.hass()
      .connection.subscribeMessage(heard, message, { resubscribe })
      .then((stop) => {
        unsubscribe = stop;
        if (stopped) end();
      })
      .catch((error: unknown) => {
        if (!stopped) onError(this.told(error));
      });
    return () => {
      if (stopped) return;
      stopped = true;
      end();
    };
  }
}
