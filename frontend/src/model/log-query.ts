import type { LogFilter } from "../api/messages";
import { isLevel } from "./levels";

/** What the logs view looks for. The expression is applied here, everything else by the server. */
export interface LogQuery extends LogFilter {
  /** A regular expression; it and `contains` exclude each other. */
  expression?: string;
  /** Show what was logged in the last so many seconds, instead of a fixed range. */
  last?: number;
}

const LONGEST = 256;

/** Reads a query out of a URL; what makes no sense there is left out. */
export function queryFromUrl(search: string): LogQuery {
  const parameters = new URLSearchParams(search);
  const query: LogQuery = {};
  const devices = parameters.getAll("device").filter((id) => /^[0-9a-zA-Z_-]{1,64}$/.test(id));
  if (devices.length > 0) query.devices = devices;
  const level = parameters.get("level");
  if (level !== null && isLevel(level)) query.level = level;
  const text = (name: string): string | undefined => parameters.get(name)?.slice(0, LONGEST);
  const module = text("module");
  if (module) query.module = module;
  const expression = text("regex");
  const contains = text("text");
  if (expression) query.expression = expression;
  else if (contains) query.contains = contains;
  const number = (name: string): number | undefined => {
    const value = Number(parameters.get(name) ?? Number.NaN);
    return Number.isFinite(value) && value > 0 ? value : undefined;
  };
  const last = number("last");
  if (last !== undefined) return { ...query, last };
  const since = number("since");
  const until = number("until");
  if (since !== undefined) query.since = since;
  if (until !== undefined && until > (since ?? 0)) query.until = until;
  return query;
}

/** Writes a query as the part of a URL behind the question mark; empty for all frames. */
export function queryToUrl(query: LogQuery): string {
  const parameters = new URLSearchParams();
  for (const id of query.devices ?? []) parameters.append("device", id);
  if (query.level) parameters.set("level", query.level);
  if (query.module) parameters.set("module", query.module);
  if (query.expression) parameters.set("regex", query.expression);
  else if (query.contains) parameters.set("text", query.contains);
  if (query.last !== undefined) parameters.set("last", String(query.last));
  else {
    if (query.since !== undefined) parameters.set("since", String(query.since));
    if (query.until !== undefined) parameters.set("until", String(query.until));
  }
  return parameters.toString();
}

/** The part of a query that the server answers; `now` is in Unix seconds. */
export function filterOf(query: LogQuery, now: number): LogFilter {
  const { expression, last, ...filter } = query;
  return last === undefined ? filter : { ...filter, since: now - last };
}

/** Compiles a query's expression, ignoring case; null without one. Throws SyntaxError. */
export function compiled(query: LogQuery): RegExp | null {
  return query.expression ? new RegExp(query.expression, "iu") : null;
}
