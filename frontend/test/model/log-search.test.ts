import { expect, test, vi } from "vitest";
import type { Client } from "../../src/api/client";
import type { Frame, LiveEvent, LogFilter, SearchEvent } from "../../src/api/messages";
import { LogSearch } from "../../src/model/log-search";
import type { LogQuery } from "../../src/model/log-query";
import { frame } from "./frames";

function started(query: LogQuery = {}) {
  const asked: LogFilter[] = [];
  const stopped = vi.fn();
  const say = {
    found: vi.fn<(event: SearchEvent) => void>(),
    live: vi.fn<(event: LiveEvent) => void>(),
    failed: vi.fn<(error: unknown) => void>(),
  };
  const client = {
    search: (
      filter: LogFilter,
      _limit: number,
      found: typeof say.found,
      failed: typeof say.failed,
    ) => {
      asked.push(filter);
      Object.assign(say, { found, failed });
      return stopped;
    },
    live: (_filter: LogFilter, live: typeof say.live) => {
      Object.assign(say, { live });
      return stopped;
    },
  } as unknown as Client;
  const changed = vi.fn();
  const search = new LogSearch(client, changed, () => 5_000);
  search.start(query);
  return { search, say, asked, stopped, changed };
}

const found = (frames: Frame[], done = true): SearchEvent => ({
  frames,
  opened: 1,
  captures: 2,
  done,
  more: false,
  failure: null,
});
const numbers = (search: LogSearch) => search.frames.map((each) => each.number);

test("what is found and what comes live is one list", () => {
  const { search, say } = started();
  say.found(found([frame(2), frame(1)], false));
  say.live({ frames: [frame(9), frame(2)] });
  say.found(found([frame(0)]));
  expect(numbers(search)).toEqual([9, 2, 1, 0]);
  expect(search.progress).toMatchObject({ opened: 1, captures: 2, done: true, more: false });
});

test("paused, nothing moves, and nothing is lost", () => {
  const { search, say } = started();
  say.found(found([frame(1)]));
  search.pause();
  say.live({ frames: [frame(2)] });
  expect(numbers(search)).toEqual([1]);
  expect(search.waiting).toBe(1);
  search.resume();
  expect(numbers(search)).toEqual([2, 1]);
  expect(search.waiting).toBe(0);
});

test("an expression is applied to both", () => {
  const { search, say, asked } = started({ expression: "line [13]$" });
  say.found(found([frame(2), frame(1)]));
  say.live({ frames: [frame(3), frame(4)] });
  expect(numbers(search)).toEqual([3, 1]);
  expect(asked).toEqual([{}]);
});

test("a wrong expression asks for nothing and says what is wrong", () => {
  const { search, asked } = started({ expression: "(" });
  expect(asked).toEqual([]);
  expect(search.failure).toMatch(/Invalid regular expression/);
});

test("a range that has ended is not listened to", () => {
  const { search, say, stopped } = started({ since: 1, until: 2 });
  say.live({ frames: [frame(1)] });
  expect(numbers(search)).toEqual([]);
  search.start({});
  expect(stopped).toHaveBeenCalledTimes(1);
});

test("another query begins anew, and leaves the last one", () => {
  const { search, say, stopped } = started();
  say.found(found([frame(1)]));
  search.start({ last: 60 });
  expect(stopped).toHaveBeenCalledTimes(2);
  expect(numbers(search)).toEqual([]);
});

test("a failure is told", () => {
  const { search, say } = started();
  say.failed({ message: "Unauthorized" });
  expect(search.failure).toBe("Unauthorized");
  expect(search.progress.done).toBe(true);
});
