import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import uPlot from "uplot";
import { reason } from "../api/client";
import type { Device, MetricSeries, Timeline, TimelineMark } from "../api/messages";
import { shared } from "../styles";
import type { TextKey } from "../texts";
import type { Chart } from "./chart";
import "./chart";
import type { PanelContext } from "./context";

const KINDS = ["session", "failed_session", "log", "core_dump", "reboot", "firmware"] as const;
type Kind = (typeof KINDS)[number];
const NAMES: Record<Kind, TextKey> = {
  session: "session",
  failed_session: "failed_session",
  log: "log",
  core_dump: "core_dump",
  reboot: "reboot",
  firmware: "firmware_change",
};
const COLOURS: Record<Kind, string> = {
  session: "--panel-info",
  failed_session: "--panel-warning",
  log: "--panel-metric",
  core_dump: "--panel-error",
  reboot: "--panel-critical",
  firmware: "--primary-color",
};
const AGES = [
  [86_400, "last_day"],
  [604_800, "last_week"],
] as const;
const AXIS = 120;

/** What happened to one device and what it measured, over one time axis. */
@customElement("ulogger-device-timeline")
export class DeviceTimeline extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) device!: Device;
  @state() private timeline?: Timeline;
  @state() private failure: string | null = null;
  @state() private age: number = AGES[0][0];

  static override styles = [
    shared,
    css`
      .head {
        display: flex;
        flex-wrap: wrap;
        gap: 8px 16px;
        align-items: center;
        padding-bottom: 12px;
      }
      .head h2 {
        flex: 1;
      }
      section {
        padding: 12px 16px;
        margin-bottom: 12px;
      }
      ol {
        list-style: none;
        margin: 0;
        padding: 0;
        max-height: 40vh;
        overflow: auto;
      }
      li {
        padding: 4px 0;
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    const before = changed.get("device") as Device | undefined;
    const other = changed.has("device") && before?.device !== this.device.device;
    const fresh = before !== undefined && before.last_seen !== this.device.last_seen;
    if (other || fresh || changed.has("age")) void this.load();
  }

  private async load(): Promise<void> {
    try {
      const since = Date.now() / 1000 - this.age;
      this.timeline = await this.context.client.timeline(this.device.device, since);
      this.failure = null;
    } catch (error) {
      this.failure = reason(error);
    }
  }

  protected override render(): TemplateResult {
    const { localize, nameOf, go } = this.context;
    const name = nameOf(this.device.device);
    return html`
      <div class="head">
        <button
          @click=${() => {
            go("devices");
          }}
        >
          ← ${localize("back")}
        </button>
        <h2>${localize("timeline_of", { name })}</h2>
        <a
          href="logs?device=${this.device.device}"
          @click=${(event: Event) => {
            event.preventDefault();
            go(`logs?device=${this.device.device}`);
          }}
          >${localize("logs")}</a
        >
        <select
          aria-label=${localize("range")}
          @change=${(event: Event) => {
            this.age = Number((event.target as HTMLSelectElement).value);
          }}
        >
          ${AGES.map(
            ([seconds, key]) =>
              html`<option value=${seconds} ?selected=${this.age === seconds}>
                ${localize(key)}
              </option>`,
          )}
        </select>
      </div>
      ${
        this.failure === null
          ? nothing
          : html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`
      }
      ${this.timeline ? this.content(this.timeline) : nothing}
    `;
  }

  private content(timeline: Timeline): TemplateResult {
    const { localize, times, isDark } = this.context;
    const newest = [...timeline.marks].sort((a, b) => b.at - a.at);
    return html`
      <section class="card">
        <h3>${localize("happened")}</h3>
        <ulogger-chart
          .chart=${this.marks(timeline)}
          .dark=${isDark()}
          label=${localize("happened")}
        ></ulogger-chart>
        ${timeline.metrics.map(
          (series) => html`
            <h3 class="mono">${series.name} ${series.unit ? `(${series.unit})` : nothing}</h3>
            <ulogger-chart
              .chart=${this.metric(series, timeline)}
              .dark=${isDark()}
              label=${series.name}
            ></ulogger-chart>
          `,
        )}
      </section>
      <section class="card">
        <ol>
          ${newest.map(
            (mark) => html`
              <li>
                <span class="mono">${times.full(mark.at)}</span>
                <strong>${localize(NAMES[mark.kind])}</strong> ${this.said(mark)}
              </li>
            `,
          )}
        </ol>
      </section>
    `;
  }

  private said({ kind, text, why, levels }: TimelineMark): string {
    const { crash, localize, own } = this.context;
    const counts = Object.entries(levels);
    if (counts.length > 0) {
      return counts
        .map(([level, count]) => `${String(count)} ${localize(level as TextKey)}`)
        .join(", ");
    }
    if (kind === "core_dump") return crash(why, text, text);
    return (why && own(`entity.sensor.last_error.state.${why}`)) || text;
  }

  /** A row for each kind, a dot for each mark. */
  private marks({ marks, since, until }: Timeline): Chart {
    const { localize } = this.context;
    const sorted = [...marks].sort((a, b) => a.at - b.at);
    const row = (kind: Kind): (number | null)[] =>
      sorted.map((mark: TimelineMark) => (mark.kind === kind ? KINDS.indexOf(kind) : null));
    return {
      height: 190,
      data: [sorted.map(({ at }) => at), ...KINDS.map(row)] as uPlot.AlignedData,
      options: (style) => {
        const text = style.getPropertyValue("--secondary-text-color");
        const grid = { stroke: style.getPropertyValue("--divider-color"), width: 1 };
        return {
          legend: { show: false },
          cursor: { show: false },
          scales: {
            x: { range: [since, until] },
            y: { range: [-0.5, KINDS.length - 0.5], dir: -1 },
          },
          axes: [
            { stroke: text, grid, values: (_, at) => this.context.times.ticks(at) },
            {
              stroke: text,
              grid,
              size: AXIS,
              splits: () => KINDS.map((_, index) => index),
              values: (_, splits) =>
                splits.map((at) => {
                  const kind = KINDS[at];
                  return kind ? localize(NAMES[kind]) : "";
                }),
            },
          ],
          series: [
            {},
            ...KINDS.map((kind) => {
              const colour = style.getPropertyValue(COLOURS[kind]);
              return {
                paths: () => null,
                points: { show: true, size: 9, fill: colour, stroke: colour },
              };
            }),
          ],
        };
      },
    };
  }

  private metric(series: MetricSeries, { since, until }: Timeline): Chart {
    return {
      height: 110,
      data: [series.points.map(([at]) => at), series.points.map(([, value]) => value)],
      options: (style) => {
        const text = style.getPropertyValue("--secondary-text-color");
        const grid = { stroke: style.getPropertyValue("--divider-color"), width: 1 };
        return {
          legend: { show: false },
          cursor: { y: false },
          scales: { x: { range: [since, until] } },
          axes: [
            { stroke: text, grid, values: (_, at) => this.context.times.ticks(at) },
            { stroke: text, grid, size: AXIS, space: 24 },
          ],
          series: [{}, { stroke: style.getPropertyValue("--primary-color"), width: 1.5 }],
        };
      },
    };
  }
}
