import { expect, test, vi } from "vitest";
import { Client, reason } from "../src/api/client";
import type { Failure, SearchEvent } from "../src/api/messages";
import type { Hass } from "../src/hass";

type Heard = (event: unknown) => void;

function connected() {
  const unsubscribe = vi.fn(() => Promise.resolve());
  const subscribed = Promise.withResolvers<() => Promise<void>>();
  const connection = {
    heard: undefined as Heard | undefined,
    sent: [] as object[],
    sendMessagePromise: (message: object) => Promise.resolve(message),
    subscribeMessage(callback: Heard, message: object) {
      connection.heard = callback;
      connection.sent.push(message);
      return subscribed.promise;
    },
  };
  const texts: Record<string, string> = {
    "component.ulogger.exceptions.disk_failed.message": "Der Datenträger von {device} versagt.",
  };
  const localize = (key: string, values: { device?: string } = {}): string =>
    (texts[key] ?? "").replace("{device}", values.device ?? "");
  const client = new Client(() => ({ connection, localize }) as unknown as Hass);
  return { client, connection, subscribed, unsubscribe };
}

const EVENT: SearchEvent = {
  frames: [],
  opened: 1,
  captures: 1,
  done: true,
  more: false,
  failure: null,
};

const FAILURE: Failure = {
  code: "disk_failed",
  message: "input/output error",
  translation_domain: "ulogger",
  translation_key: "disk_failed",
  translation_placeholders: { device: "Pumpe" },
};

test("a search that is left before it stands is ended when it does, and says nothing more", async () => {
  const { client, connection, subscribed, unsubscribe } = connected();
  const onEvent = vi.fn();
  const stop = client.search({ level: "error" }, 10, onEvent, vi.fn());
  connection.heard?.(EVENT);
  stop();
  connection.heard?.(EVENT);
  expect(onEvent).toHaveBeenCalledTimes(1);
  expect(unsubscribe).not.toHaveBeenCalled();
  subscribed.resolve(unsubscribe);
  await subscribed.promise;
  stop();
  expect(unsubscribe).toHaveBeenCalledTimes(1);
  expect(connection.sent).toEqual([
    { type: "ulogger/logs/search", filter: { level: "error" }, limit: 10 },
  ]);
});

test("what goes wrong is told to who still listens", async () => {
  const { client, subscribed } = connected();
  const onError = vi.fn();
  client.devices(vi.fn(), onError);
  const stop = client.devices(vi.fn(), onError);
  stop();
  subscribed.reject({ code: "unauthorized", message: "Unauthorized" });
  await vi.waitFor(() => {
    expect(onError).toHaveBeenCalledTimes(1);
  });
  expect(onError.mock.calls.flat().map(reason)).toEqual(["Unauthorized"]);
});

test("an error is told in the user's language where it names its text", async () => {
  const { client, connection } = connected();
  const told = async (error: unknown): Promise<string> => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- as the connection does
    connection.sendMessagePromise = () => Promise.reject(error);
    return client.frame("x").then(() => "", reason);
  };
  expect(await told(FAILURE)).toBe("Der Datenträger von Pumpe versagt.");
  expect(await told({ ...FAILURE, translation_key: "unheard_of" })).toBe("input/output error");
  expect(await told({ code: "timeout", message: "Timeout" })).toBe("Timeout");
  expect(await told(null)).toBe("null");
});

test("a search that fails on its way says so instead of an answer", () => {
  const { client, connection } = connected();
  const [onEvent, onError] = [vi.fn(), vi.fn()];
  client.search({}, 10, onEvent, onError);
  connection.heard?.(EVENT);
  connection.heard?.({ ...EVENT, failure: FAILURE });
  expect(onEvent).toHaveBeenCalledTimes(1);
  expect(onError.mock.calls.flat().map(reason)).toEqual(["Der Datenträger von Pumpe versagt."]);
});
