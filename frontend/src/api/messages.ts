// Made by script/panel build of panel/messages.py, which explains each field.
export type LevelName = "debug" | "info" | "warning" | "error" | "critical" | "metric" | "reserved_6" | "reserved_7";
export type CrashStateName = "open" | "resolved" | "ignored" | "regressed";
export type PersonsState = "open" | "resolved" | "ignored";
export type PhaseName = "idle" | "connecting" | "waiting_for_slot" | "downloading" | "live" | "waiting_for_cloud" | "error";
export type Value = number | string | boolean;

export interface LogFilter {
  devices?: string[];
  level?: LevelName;
  module?: string;
  contains?: string;
  since?: number;
  until?: number;
}

export interface Frame {
  key: string;
  account: string;
  capture: number;
  number: number;
  device: string;
  at: number;
  uncertainty: number | null;
  level: LevelName;
  module: number;
  module_name: string | null;
  message: string;
  firmware: string;
}

export interface Argument {
  type: string;
  value: Value;
}

export interface LogPlace {
  function: string | null;
  location: string | null;
}

export interface FrameDetails {
  frame: Frame;
  address: number;
  arguments: Argument[];
  format: string | null;
  places: LogPlace[];
  download: string;
  before: Frame[];
  after: Frame[];
}

export interface Failure {
  code: string;
  message: string;
  translation_domain: string;
  translation_key: string;
  translation_placeholders: Record<string, string>;
}

export interface SearchEvent {
  frames: Frame[];
  opened: number;
  captures: number;
  done: boolean;
  more: boolean;
  failure: Failure | null;
}

export interface LiveEvent {
  frames: Frame[];
}

export interface CrashGroup {
  account: string;
  fingerprint: string;
  reason: string;
  fault_kind: string;
  place: string;
  state: CrashStateName;
  count: number;
  first_seen: number;
  last_seen: number;
  devices: string[];
  versions: string[];
  days: number[];
}

export interface BacktraceFrame {
  address: number;
  function: string | null;
  location: string | null;
  certainty: string;
  inlined: boolean;
}

export interface FaultBit {
  register: string;
  bit: number;
  name: string;
}

export interface Memory {
  start: number;
  data: string;
}

export interface Symbol {
  address: number;
  size: number;
  name: string;
}

export interface CrashOccurrence {
  account: string;
  capture: number | null;
  device: string | null;
  device_name: string;
  version: string;
  at: number;
  reason: string;
  fault_kind: string;
  place: string;
}

export interface CrashDetails {
  occurrence: CrashOccurrence;
  application_id: number;
  git_hash: string;
  fault: string;
  fault_address: number | null;
  bits: FaultBit[];
  registers: Record<string, number>;
  backtrace: BacktraceFrame[];
  has_image: boolean;
  memory: Memory[];
  symbols: Symbol[];
  led_to_it: Frame[];
  download: string;
  core: string | null;
}

export interface AddedImage {
  title: string;
  replaced: boolean;
}

export interface WaitingCaptures {
  destination: string;
  name: string;
  waiting: number;
}

export interface MetricSeries {
  name: string;
  unit: string | null;
  points: [number, number][];
}

export interface Device {
  device: string;
  account: string;
  name: string;
  serial: string;
  application_id: number;
  version: string;
  has_image: boolean;
  state: PhaseName;
  progress: number | null;
  in_range: boolean;
  last_seen: number | null;
  rssi: number | null;
  metrics: MetricSeries[];
  errors_24h: number;
  crashes_24h: number;
  waiting: WaitingCaptures[];
  next_collection: number | null;
  collect: boolean;
  log_level: string | null;
  live: boolean | null;
}

export interface DevicesEvent {
  devices: Device[];
  removed: string[];
}
export type MarkKind = "session" | "failed_session" | "log" | "core_dump" | "reboot" | "firmware";

export interface TimelineMark {
  at: number;
  kind: MarkKind;
  text: string;
  until: number | null;
  why: string;
  levels: Record<string, number>;
}

export interface Timeline {
  device: string;
  since: number;
  until: number;
  marks: TimelineMark[];
  metrics: MetricSeries[];
}
