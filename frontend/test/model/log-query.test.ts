import { expect, test } from "vitest";
import {
  compiled,
  filterOf,
  type LogQuery,
  queryFromUrl,
  queryToUrl,
} from "../../src/model/log-query";

const FULL: LogQuery = {
  devices: ["0a1b", "2c3d"],
  level: "error",
  module: "pump",
  contains: "a&b=c ü",
  since: 1_700_000_000,
  until: 1_700_003_600,
};

test.each<LogQuery>([{}, FULL, { expression: "^a.*[0-9]$" }, { last: 3600, level: "metric" }])(
  "a shared view is the same for who opens it: %o",
  (query) => {
    expect(queryFromUrl(`?${queryToUrl(query)}`)).toEqual(query);
  },
);

test("what makes no sense in a URL is left out", () => {
  const hostile = "?device=%3Cscript%3E&level=loud&since=x&until=-4&last=Infinity&text=";
  expect(queryFromUrl(hostile)).toEqual({});
});

test("a range that ends before it begins has no end", () => {
  expect(queryFromUrl("?since=20&until=10")).toEqual({ since: 20 });
});

test("the server is not asked for an expression, and gets a moment instead of an age", () => {
  expect(filterOf({ expression: "x", last: 60, module: "2" }, 1000)).toEqual({
    module: "2",
    since: 940,
  });
});

test("an expression ignores case, and a wrong one says so", () => {
  expect(compiled({ expression: "VALVE" })?.test("valve open")).toBe(true);
  expect(compiled({})).toBeNull();
  expect(() => compiled({ expression: "(" })).toThrow(SyntaxError);
});
