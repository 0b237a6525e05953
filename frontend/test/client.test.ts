import { expect, test, vi } from "vitest";
import { Client, reason } from "../src/api/client";
import type { SearchEvent } from "../src/api/messages";
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
  const client = new Client(() => ({ connection }) as unknown as Hass);
  return { client, connection, subscribed, unsubscribe };
}

const EVENT: SearchEvent = { frames: [], opened: 1, captures: 1, done: true, more: false };

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
